"""A new release folder: whole, or not there."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import TidegateError


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A scratch folder with `p/` in it that becomes `out` at the end; on any failure `out` does not exist."""
    if out.exists():
        raise TidegateError(f"{out} exists; a release is never changed", "Name a new folder or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise TidegateError(f"cannot write {out}: {error.strerror}", "Choose another --out") from error
    try:
        (scratch / "p").mkdir()
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(out)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise TidegateError(f"cannot write {out}: {error.strerror}", "Check the free space") from error
        raise
