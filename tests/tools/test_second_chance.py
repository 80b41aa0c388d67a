"""make test's second chance: what fails in the crowd has to pass alone, twice, and is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # it starts pytest thirteen times

TOOL = Path(__file__).resolve().parents[2] / "tools" / "second_chance.py"
COUNTED = """
from pathlib import Path

def test_a():
    runs = Path({runs!r})
    runs.write_text(runs.read_text() + ".")
    assert len(runs.read_text()) not in {fails}, "bad luck"

def test_b():
    pass
"""


@pytest.mark.parametrize(
    ("fails", "code", "runs"),
    [((), 0, 1), ((1,), 0, 3), ((1, 2), 1, 2), ((1, 3), 1, 3)],
    ids=["nothing failed", "once", "again at once", "again the second time"],
)
def test_a_failed_test_has_to_pass_twice_alone(tmp_path: Path, fails: tuple[int, ...], code: int, runs: int) -> None:
    count = tmp_path / "runs"
    count.write_text("")
    (tmp_path / "test_counted.py").write_text(COUNTED.format(runs=str(count), fails=fails))
    done = run(tmp_path)
    assert (done.returncode, len(count.read_text())) == (code, runs), done.stdout
    assert ("UNRELIABLE test_counted.py::test_a" in done.stdout) == (fails == (1,))


def test_many_failures_get_no_second_chance(tmp_path: Path) -> None:
    (tmp_path / "test_many.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_n(n):\n    assert False\n"
    )
    done = run(tmp_path)
    assert done.returncode == 1 and "alone now" not in done.stdout


def test_a_file_that_cannot_be_read_gets_none(tmp_path: Path) -> None:
    (tmp_path / "test_odd.py").write_text("import nothing_of_the_kind\n")
    done = run(tmp_path)
    assert done.returncode != 0 and "alone now" not in done.stdout


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """The tests of a folder, as `make test` runs them."""
    return subprocess.run(
        [sys.executable, str(TOOL), "-p", "no:cacheprovider", "--rootdir", ".", "-c", "/dev/null", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
