"""Files and folders that appear whole or not at all, and reads that cannot grow without bound.

`write_atomic` is the one writer of all tools: what is no regular file is written through, never replaced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tidegate.errors import TidegateError

NEXT_TO_NOTHING = 64 * 1024  # bytes


def check_folder(path: Path | str) -> None:
    """Refuse a `path` that cannot be written, before making something that is shown only once."""
    target = _target(Path(path))
    if target.stream is None:
        try:
            with tempfile.NamedTemporaryFile(prefix=_prefix(target.path), dir=target.path.parent):
                pass
        except OSError as error:
            raise _unwritable(Path(path), error) from error


def write_atomic(path: Path | str, data: bytes, mode: int | None = None) -> None:
    """Write `data` to what `path` names, and destroy nothing else.

    A regular file, or a new name, holds its old content or all of the new one, whatever interrupts this: the data goes
    to a temporary file in the same folder, which is renamed. A link is followed. A pipe, a terminal or another
    character device is written to. TidegateError for what cannot be written: folders, sockets, block devices, and
    files that this user may not write.

    mode: permission bits, set before the first byte is written, so that a private key is never readable by others,
    however briefly; default: those that the file has, else 0644.
    """
    path = Path(path)
    target = _target(path)
    if target.stream is not None:
        _write_through(path, target.stream, data)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=_prefix(target.path), dir=target.path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            if target.owner is not None:
                with contextlib.suppress(OSError):  # only root can give files away
                    os.fchown(stream.fileno(), *target.owner)
            os.fchmod(stream.fileno(), target.mode if mode is None else mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target.path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise TidegateError(f"cannot write {path}: {error.strerror}", "Check the free space") from error
        raise


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut only once the folder itself is on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class _Target:
    """What a path leads to. `stream`: opens it for writing through, None for a regular file or a new name."""

    path: Path
    stream: Callable[[], int] | None = None
    mode: int = 0o644
    owner: tuple[int, int] | None = None


def _target(path: Path) -> _Target:
    """What `path` leads to, links followed."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return _Target(Path(os.path.realpath(path)))  # a link to nothing makes what it points to
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    kind = found.st_mode
    if stat.S_ISDIR(kind):
        raise TidegateError(f"cannot write {path}: it is a folder", "Name a file in it")
    if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        return _Target(path, lambda: os.open(path, os.O_WRONLY | os.O_NOCTTY))
    if not stat.S_ISREG(kind):
        raise TidegateError(f"cannot write {path}: it is a socket or a disk", "Name a file")
    for handle in (1, 2):  # /dev/stdout, where the shell has opened a file: a rename would take the file from it
        with contextlib.suppress(OSError):
            if os.path.samestat(found, os.fstat(handle)):
                return _Target(path, partial(os.dup, handle))
    if not os.access(path, os.W_OK):
        raise TidegateError(f"cannot write {path}: it is write-protected", "Name another file, or allow it with chmod")
    return _Target(Path(os.path.realpath(path)), None, stat.S_IMODE(kind), (found.st_uid, found.st_gid))


def _write_through(path: Path, opened: Callable[[], int], data: bytes) -> None:
    try:
        with os.fdopen(opened(), "wb", buffering=0) as stream:
            left = memoryview(data)
            while left:
                left = left[stream.write(left) :]
    except BrokenPipeError as error:
        raise TidegateError(f"cannot write {path}: nobody reads it any more", "Start its reader again") from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _prefix(path: Path) -> str:
    """How temporary files beside `path` begin; short, as a name has at most 255 bytes."""
    return f".{path.name[:40]}."


def _unwritable(path: Path, error: OSError | ValueError) -> TidegateError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return TidegateError(f"cannot write {path}: {why}", "Check that the folder exists and is writable")


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
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise TidegateError(f"cannot read {what} {path}: {why}", "Check the path and its permissions") from error
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
        scratch = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
    except OSError as error:
        raise TidegateError(f"cannot write {out}: {error.strerror}", "Choose a folder that can be written") from error
    try:
        with called(scratch, out):
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


@contextlib.contextmanager
def called(scratch: Path, out: Path) -> Iterator[None]:
    """Errors within name `out` and not `scratch`, which is gone when somebody reads them."""
    try:
        yield
    except TidegateError as error:
        error.message = error.message.replace(str(scratch), str(out))
        raise


def is_full(folder: Path) -> bool:
    """Whether the disk that `folder` is on has next to no room: why a program failed that could not even say so."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < NEXT_TO_NOTHING
