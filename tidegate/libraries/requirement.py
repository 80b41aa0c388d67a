"""One line of `requires` in tidegate.toml, in the words that mip takes: NAME@VERSION of an index, github:USER/REPO@REF,
an address, or ./FOLDER of the project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tidegate.client.plain_addresses import is_here

FORMS = '"NAME@VERSION", "github:USER/REPO@REF", "https://HOST/package.json" or "./FOLDER"'
_INDEX = re.compile(r"[A-Za-z0-9](?!.*\.json$)[\w.-]{0,63}", re.ASCII)
_FORGE = re.compile(r"(?:github|gitlab|codeberg):[\w.-]{1,64}(?:/[\w.-]{1,64}){1,8}/?", re.ASCII)
_ADDRESS = re.compile(r"https?://[^\s@?#\\]{1,180}", re.ASCII)
_FOLDER = re.compile(r"\./[\w./-]{1,100}", re.ASCII)
_VERSION = re.compile(r"\w[\w.+/-]{0,63}", re.ASCII)

Kind = Literal["index", "forge", "address", "folder"]


@dataclass(frozen=True)
class Requirement:
    """text: as it was written. package and version: what mip gets; without a version it takes the latest one."""

    text: str
    kind: Kind
    package: str
    version: str | None

    @classmethod
    def read(cls, text: str) -> Requirement:
        """ValueError, in words that complete "it ...", for what mip would not take, or read otherwise than meant."""
        package, mark, version = text.partition("@")
        kind = _kind(package)
        if kind is None or ".." in re.split("[/:]", package):
            raise ValueError(f"has {text!r:.80} in it; a library is {FORMS}")
        if mark and (kind in ("address", "folder") or not _VERSION.fullmatch(version) or ".." in version):
            raise ValueError(f"has {text!r:.80} in it: {version!r:.60} is not a version of it")
        if not has_tls(package) and kind == "address":
            raise ValueError(f"has {text!r:.80} in it, which has no TLS; name an address of https://")
        return cls(text, kind, package.rstrip("/"), version or None)

    @property
    def name(self) -> str:
        """What is required twice if two lines have it."""
        return self.package.removesuffix("/package.json")


def has_tls(address: str) -> bool:
    """Whether nobody on the way can change what is read at `address`: it is https://, or on this machine."""
    return address.startswith("https://") or is_here(urlsplit(address).hostname or "")


def _kind(package: str) -> Kind | None:
    if package.startswith("."):
        return "folder" if _FOLDER.fullmatch(package) else None
    if package.startswith(("http://", "https://")):
        return "address" if _ADDRESS.fullmatch(package) else None
    if ":" in package:
        return "forge" if _FORGE.fullmatch(package) else None
    return "index" if _INDEX.fullmatch(package) else None
