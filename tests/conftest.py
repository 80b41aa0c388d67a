"""What holds for all tests: marks by folder and ground, and the order in which files start.

Marks say what a test needs beyond Python, so that `make check` can leave it out:

- board:  the emulated board (QEMU and its firmware);
- built:  what `make setup` compiles, such as the unix port, fetches, or installs beside Python;
- broker: brokers, CoAP stacks, databases and browsers of others;
- server: server processes of ours;
- slow:   it takes long, or its file as a whole does;
- soak:   it repeats something, and does it far more often in `make soak` (TIDEGATE_FULL=1);
- cpython, unix, arm64, cortex-m3: device code on this ground.

A folder's marks are in FOLDERS; a file or test adds its own with pytest.mark. Device tests get theirs from their ground
(tests/device/conftest.py), and so does every test with a parameter `ground`.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import threat_table

HERE = Path(__file__).parent
DURATIONS = HERE / "durations.txt"
FOLDERS = {
    "board": ("board",),
    "e2e": ("board", "server"),
    "faults": ("server",),
    "fuzz": ("built",),
    "native": ("built",),
    "interop": ("broker", "built"),
    "server": ("server",),
    "stock": ("board", "server", "slow"),
}
GROUNDS = {"cpython": (), "unix": ("built",), "cortex-m3": ("board",)}
# Reasons to skip that say what a machine lacks.
NOT_HERE = ("not installed", "not built", "is not there", "no ../shared/")
MISSED = 8  # exit code, none of pytest's: no second run of tests that failed makes it good
NOTED_S = 10  # a file that takes longer is in DURATIONS
SLOW_S = 30  # and from here on it is slow

# What the collection of some thousands of tests makes lives until the end: to look for garbage in it costs a third of
# the time it takes, and later more in each test.
gc.disable()

# A job in the background of a shell without job control starts with Ctrl-C ignored, and so would all that the tests
# start to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What the tools remember of a user's choices is not this user's here.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="tidegate-config-")
atexit.register(shutil.rmtree, os.environ["XDG_CONFIG_HOME"], ignore_errors=True)

# Boards, databases and brokers sync many small files: in memory, where there is room, nobody waits for a disk.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= 8 << 30:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # it may have been asked before

# What the tools remember of devices is not the person's who runs the tests.
os.environ["TIDEGATE_KNOWN_DEVICES"] = str(Path(tempfile.mkdtemp(prefix="tidegate-known-")) / "known-devices")


def durations() -> dict[str, float]:
    """{file: seconds} of the slow files, as measured at some time on two cores; rough is good enough."""
    lines = (line.split() for line in DURATIONS.read_text().splitlines() if not line.startswith("#"))
    return {name: float(seconds) for seconds, name in lines}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--note-durations", action="store_true", help="write tests/durations.txt from this run, which must be of all"
    )


def pytest_configure(config: pytest.Config) -> None:
    text = (__doc__ or "").partition("\n\n- ")[2].partition("\n\n")[0]
    for line in text.splitlines():
        names, _, meaning = line.removeprefix("- ").partition(":")
        for name in names.split(","):
            config.addinivalue_line("markers", f"{name.strip()}: {meaning.strip().rstrip(';.')}")
    config.pluginmanager.register(ThreatTests(), "threat-tests")
    if config.getoption("--note-durations"):
        config.pluginmanager.register(NotedDurations(), "noted-durations")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seconds = durations()
    for item in items:
        file = item.path.relative_to(HERE.parent).as_posix()
        for mark in FOLDERS.get(item.path.relative_to(HERE).parts[0], ()):
            item.add_marker(mark)
        ground = item.callspec.params.get("ground") if hasattr(item, "callspec") else None
        for mark in (ground, *GROUNDS[ground]) if ground in GROUNDS else ():
            item.add_marker(mark)
        # On CPython, device code is quick, unless it tries every lie or every cut there is.
        tries_all = file.startswith("tests/device/") and item.name.startswith("test_every_")
        if tries_all or (seconds.get(file, 0) >= SLOW_S and item.get_closest_marker("cpython") is None):
            item.add_marker("slow")
    # The slowest files first, so that all workers end together. pytest-xdist hands files out in this order.
    items.sort(key=lambda item: -seconds.get(item.path.relative_to(HERE.parent).as_posix(), 0))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


class ThreatTests:
    """Fails a session that skipped a test on which docs/threats.md relies, unless what it needs is not installed."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.skipped[name] = str(reason)
        elif report.when == "call":
            self.ran.add(name)

    def missed(self) -> list[str]:
        relied_on = {f"{file}::{name}" for file, name in threat_table.named_tests()}
        return sorted(
            f"{name}: {reason}"
            for name, reason in self.skipped.items()
            if name in relied_on - self.ran and not any(words in reason for words in NOT_HERE)
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput") and self.missed():
            session.exitstatus = MISSED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.missed():
            terminalreporter.write_line(f"docs/threats.md relies on a test that was skipped: {line}", red=True)


class NotedDurations:
    """Adds up what each file took, and writes the slow ones down."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0) + report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        head = [line for line in DURATIONS.read_text().splitlines() if line.startswith("#")]
        slow = sorted(((took, name) for name, took in self.seconds.items() if took >= NOTED_S), reverse=True)
        DURATIONS.write_text("\n".join([*head, *(f"{took:.0f} {name}" for took, name in slow)]) + "\n")
