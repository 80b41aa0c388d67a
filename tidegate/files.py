"""Files and folders that appear whole or not at all, and reads that cannot grow without bound."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import TidegateError


def check_folder(path: Path | str) -> None:
    """Refuse a `path` whose folder cannot be written, before making something that is shown only once."""
    path = Path(path)
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> TidegateError:
    return TidegateError(f"cannot write {path}: {error.strerror}", "Check that the folder exists and is writable")


def write_atomic(path: Path | str, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` by way of a temporary file in the same folder and a rename.

    Whatever interrupts this, `path` holds its old content or all of the new one. The permission bits are
    set before the first byte is written, so a private key is never readable by others, however briefly.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise TidegateError(f"cannot write {path}: {error.strerror}", "Check the free space") from error
        raise


def read_limited(path: Path | str, limit: int, what: str) -> bytes:
    """The bytes of `path`, which may have at most `limit` of them; `what` names it in errors."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise TidegateError(f"{what} {path} does not exist", "Check the path") from error
    except IsADirectoryError as error:
        raise TidegateError(f"{what} {path} is a folder", "Name the file inside it") from error
    except OSError as error:
        raise TidegateError(f"cannot read {what} {path}: {error.strerror}") from error
    if len(data) > limit:
        raise TidegateError(f"{what} {path} is longer than {limit} bytes", "Check that it is the right file")
    return data


@contextlib.contextmanager
def new_folder(out: Path, *inner: str) -> Iterator[Path]:
    """A scratch folder, with the empty folders `inner`, that becomes `out` at the end; on any failure `out` does not
    exist."""
    if out.exists():
        raise TidegateError(f"{out} exists and is never changed", "Name a new folder or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise TidegateError(f"cannot write {out}: {error.strerror}", "Choose another --out") from error
    try:
        for name in inner:
            (scratch / name).mkdir()
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(out)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise TidegateError(f"cannot write {out}: {error.strerror}", "Check the free space") from error
        raise
