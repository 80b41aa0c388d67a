#!/usr/bin/env python3
"""Coverage-guided fuzzing (atheris, libFuzzer inside) of every parser in the table of parsers.py.

    python tests/fuzz/coverage.py [--time 60] [--only device.cbor] [--keep]

Each target runs in a process of its own for so many seconds, from the stored inputs and valid ones. --keep stores what
reached new code in tests/fuzz/corpora, minimised: an input stays only if
it takes a step, from line to line, that nothing smaller takes. What is
found is printed with the input, as hex, and ends the run with exit code 1; test_parsers.py replays an input that is
added to the corpus by `--add device.cbor HEX`.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import parsers

CHILD, MINIMISE = "--child", "--minimise"
MOST_TRACED = 1500  # inputs that are looked at when a corpus is minimised, the smallest
MOST_BYTES = 2048  # an input
KEPT_BYTES = 24_000  # a target's corpus, in the repository
ONE_INPUT_S = 10  # longer is a finding
RSS_MB = 2048


def fuzz_here(name: str, arguments: list[str]) -> None:
    """The child: never returns."""
    import atheris

    target = parsers.all_targets()[name]
    if name.startswith("device."):
        parsers.device_path()
    with atheris.instrument_imports(include=list(target.modules), enable_loader_override=False):
        for module in target.modules:
            __import__(module)
    judge = target.make()

    def one(data: bytes) -> None:
        judge(bytes(data))

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def minimise_here(name: str, source: Path, target: Path) -> None:
    """Copies, smallest first, what takes a step from line to line that nothing before took."""
    chosen = parsers.all_targets()[name]
    judge = chosen.make()
    files = {__import__(module, fromlist=["_"]).__file__ for module in chosen.modules}
    seen: set[tuple[str, int, int]] = set()
    for path in sorted(source.iterdir(), key=lambda path: (path.stat().st_size, path.name))[:MOST_TRACED]:
        steps: set[tuple[str, int, int]] = set()
        with contextlib.suppress(Exception), traced(files, steps):
            judge(path.read_bytes())
        if steps - seen:
            seen |= steps
            (target / path.name).write_bytes(path.read_bytes())


@contextlib.contextmanager
def traced(files: set[str | None], steps: set[tuple[str, int, int]]) -> Iterator[None]:
    """Notes each step from one line to the next in these files."""
    last: dict[int, int] = {}

    def local(frame: FrameType, event: str, _given: object) -> object:
        if event == "line":
            steps.add((frame.f_code.co_filename, last.get(id(frame), 0), frame.f_lineno))
            last[id(frame)] = frame.f_lineno
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, given: local if frame.f_code.co_filename in files else None)  # type: ignore
    try:
        yield
    finally:
        sys.settrace(before)


def child(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, CHILD, name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=tempfile.gettempdir())


def fuzz(target: parsers.Target, seconds: int, keep: bool) -> tuple[int, str]:
    """(executions, the finding or "")."""
    with tempfile.TemporaryDirectory(prefix="tidegate-fuzz-", dir=parsers.shared()) as place:
        corpus, found, small = Path(place, "corpus"), Path(place, "found"), Path(place, "small")
        for folder in (corpus, found, small):
            folder.mkdir()
        for number, data in enumerate([*parsers.stored(target.name), *target.seeds()]):
            (corpus / str(number)).write_bytes(data)
        limits = [f"-max_len={MOST_BYTES}", f"-timeout={ONE_INPUT_S}", f"-rss_limit_mb={RSS_MB}"]
        limits += [f"-artifact_prefix={found}/", "-verbosity=1"]
        done = child(target.name, f"-max_total_time={seconds}", "-print_final_stats=1", *limits, str(corpus))
        executions = sum(int(line.split()[-1]) for line in done.stderr.splitlines() if "number_of_executed" in line)
        artifacts = sorted(found.iterdir())
        if done.returncode or artifacts:
            shown = (done.stdout + done.stderr)[-1800:]
            return executions, f"input {artifacts[0].read_bytes().hex() if artifacts else '?'}\n{shown}"
        if keep:
            command = [sys.executable, __file__, MINIMISE, target.name, str(corpus), str(small)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            kept, size = [], 0
            for path in sorted(small.iterdir(), key=lambda path: path.stat().st_size):
                size += path.stat().st_size
                if size <= KEPT_BYTES // 2:
                    kept.append(path.read_bytes())
            parsers.store(target.name, kept)
        return executions, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=int, default=60, help="seconds a target (default: 60)")
    parser.add_argument("--only", action="append", help="this target, or those whose name begins so")
    parser.add_argument("--keep", action="store_true", help="store what reached new code")
    parser.add_argument("--add", nargs=2, metavar=("TARGET", "HEX"), help="add one input to a corpus")
    asked = parser.parse_args()
    targets = parsers.all_targets()
    if asked.add:
        name, text = asked.add
        parsers.store(targets[name].name, [*parsers.stored(name), bytes.fromhex(text)])
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit("atheris is not installed: pip install -e '.[fuzz]' (it has wheels for CPython on Linux)")
    chosen = [target for name, target in targets.items() if not asked.only or name.startswith(tuple(asked.only))]
    findings = total = 0
    try:
        for target in chosen:
            began = time.monotonic()
            executions, finding = fuzz(target, asked.time, asked.keep)
            total += executions
            findings += bool(finding)
            print(f"{target.name:22} {executions:>10,} inputs {time.monotonic() - began:5.0f} s  "
                  f"{'FOUND ' + finding if finding else 'nothing found'}", flush=True)  # fmt: skip
    except KeyboardInterrupt:
        print(f"interrupted; {total:,} inputs so far, {findings} targets with a finding")
        return 130
    print(f"{total:,} inputs, {len(chosen)} targets, {findings} with a finding")
    return 1 if findings else 0


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        fuzz_here(sys.argv[2], sys.argv[3:])
    if sys.argv[1:2] == [MINIMISE]:
        sys.exit(minimise_here(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])))
    sys.exit(main())
