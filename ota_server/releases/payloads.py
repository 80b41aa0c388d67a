"""Payload files: named by their SHA-256, written whole or not at all, never changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from ota_server.errors import NotFound, StorageFull, TooLarge, Unprocessable, is_storage_full
from tidegate.names import DIGEST

_PIECE = 64 * 1024
_TEMPORARY = ".part-"


def check_name(name: str) -> str:
    """The name if it is 64 lower-case hex digits. Anything else can never be a path here."""
    if not DIGEST.fits(name):
        raise NotFound(
            "no-such-payload",
            "a payload is named by 64 lower-case hex digits",
            "Use the SHA-256 of its bytes",
        )
    return name


def file_of(folder: Path, name: str) -> Path:
    """Where the payload `name` is, or would be, in a folder of payloads."""
    return folder / name[:2] / check_name(name)


class Payloads:
    """A folder of payloads, spread over 256 subfolders."""

    def __init__(self, folder: Path, max_size: int) -> None:
        self.folder = folder
        self.max_size = max_size
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(f"{_TEMPORARY}*"):  # of a server that was killed
            left_over.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        return file_of(self.folder, name)

    def has(self, name: str) -> bool:
        return self.path(name).is_file()

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def store(self, name: str, stream: BinaryIO) -> int:
        """Take the bytes of `stream` in as `name`; returns their number.

        They go to a temporary file first, and only a whole, synced file with the right digest gets its name, by a
        rename. Raises Problem 413, 422 (digest) or 507 (no room) and then leaves nothing behind.
        """
        final = self.path(name)
        temporary = self.folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            size, digest = self._copy(stream, temporary)
            if digest != name:
                raise Unprocessable(
                    "digest",
                    f"the {size} bytes received have SHA-256 {digest}, not {name}",
                    "Send the whole file, and name it by its own digest",
                )
            if size == 0:
                raise Unprocessable("empty", "a payload has at least one byte", "Send the file's bytes as the body")
            final.parent.mkdir(exist_ok=True)
            temporary.replace(final)
            _sync_folder(final.parent)
            return size
        except OSError as error:
            if is_storage_full(error):
                raise StorageFull(f"payload {name}") from error
            raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _copy(self, stream: BinaryIO, path: Path) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        with path.open("xb") as out:
            while piece := stream.read(_PIECE):
                size += len(piece)
                if size > self.max_size:
                    raise TooLarge(
                        "too-large",
                        f"a payload has at most {self.max_size} bytes",
                        "Start the server with a larger limit",
                    )
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        return size, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """A rename survives a power cut only once the folder itself is on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
