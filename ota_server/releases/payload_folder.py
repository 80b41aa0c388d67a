"""Payloads in a folder: the server's own, or one that several servers share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ota_server.errors import Problem, StorageFull, TooLarge, Unavailable, Unprocessable, is_storage_full
from ota_server.releases.payloads import PIECE, Payloads, file_of, missing
from tidegate.files import sync_folder

_TEMPORARY = ".part-"
_LEFT_OVER_S = 3600  # in a folder that others share, what is younger may still be written


class FolderPayloads(Payloads):
    """A folder of payloads, spread over 256 subfolders."""

    def __init__(self, folder: Path, max_size: int, is_shared: bool = False) -> None:
        self.folder = folder
        self.max_size = max_size
        folder.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - _LEFT_OVER_S
        for left_over in folder.glob(f"{_TEMPORARY}*"):  # of a server that was killed
            with contextlib.suppress(FileNotFoundError):
                if not is_shared or left_over.stat().st_mtime < oldest:
                    left_over.unlink()

    def has(self, name: str) -> bool:
        return file_of(self.folder, name).is_file()

    def open(self, name: str) -> BinaryIO:
        try:
            return file_of(self.folder, name).open("rb")
        except FileNotFoundError:
            raise missing(name) from None
        except OSError as error:
            raise self._away(error) from error

    def pieces(self, name: str) -> Iterator[bytes]:
        with self.open(name) as file:
            size = 0
            try:
                while size <= self.max_size and (piece := file.read(min(PIECE, self.max_size + 1 - size))):
                    size += len(piece)
                    yield piece
            except OSError as error:
                raise self._away(error) from error

    def store(self, name: str, stream: BinaryIO) -> int:
        """They go to a temporary file first, and only a whole, synced file with the right digest gets its name, by a
        rename."""
        final = file_of(self.folder, name)
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
            sync_folder(final.parent)
            return size
        except OSError as error:
            if is_storage_full(error):
                raise StorageFull(f"payload {name}") from error
            raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        return (one.name for one in self.folder.glob("??/*"))

    def where(self, name: str) -> str:
        return str(file_of(self.folder, name))

    def remove(self, name: str) -> None:
        """Forget it, if it is there. Only a cache of payloads does so."""
        file_of(self.folder, name).unlink(missing_ok=True)

    def _copy(self, stream: BinaryIO, path: Path) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        with path.open("xb") as out:
            while piece := stream.read(PIECE):
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

    def _away(self, error: OSError) -> Problem:
        return Unavailable(
            "payload-store-away",
            f"the folder of payloads cannot be read: {error.strerror or type(error).__name__}",
            "Try again; look whether the folder is mounted and belongs to the server",
        )
