"""Stable numbering: the same program under other numbers, and what cannot be linked stays or is refused."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import limit
from projects import ROOT, write_app

from tidegate import boards, delta
from tidegate.image import compile_source, mpy, relink_module, romfs
from tidegate.image.relink import same_program
from tidegate.release import Release, load_release

MPY_TOOL = ROOT / ".toolchain" / "micropython" / "tools" / "mpy-tool.py"
UNIX = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON") or ROOT / "build" / "unix" / "micropython")
ARMV7M = boards.Board("any", "", "armv7m", None, {})
PORTABLE = boards.Board("any", "", "", None, {})

HEAD = """
import sys

class Base:
    shared = (1, 2.5, "a tuple", b"bytes", None, ..., (True, 10**30))

    def __init__(self, first, second=7, *rest, keyword=12345678901234567890, **others):
        self.first, self.second, self.rest, self.keyword = first, second, rest, keyword
        self.others = sorted(others.items())

    def told(self):
        return "%s %s %s %s %s" % (self.first, self.second, self.rest, self.keyword, self.others)

class Derived(Base):
    def told(self):
        return "derived: " + super().told()

def counter(start, *, step=3):
    value = start
    def advance(by=step):
        nonlocal value
        value += by
        return value, [v * by for v in range(value) if v % 2], {v: by for v in range(3)}
    return advance

def generate(limit):
    for number in range(limit):
        try:
            if number == 2:
                continue
            yield number, 1.25 * number
        except ValueError as error:
            print("caught", error)
        finally:
            print("finally", number)

def main():
    print(Base("one", 2, 3, keyword=4, zebra=1, antelope=2).told(), Derived("x").told(), Base.shared)
    advance = counter(5, step=4)
    print(advance(), advance(by=2))
    print(list(generate(4)), 98765432109876543210, -1.5e-7, "a long constant that is kept as an object of its own")
    print([f() for f in FUNCTIONS])
    print(sorted(name for name in globals() if name[0] != "_"))
    print(main.__name__, counter.__name__, sys.implementation.name)
    try:
        raise KeyError("line numbers")
    except KeyError as error:
        sys.print_exception(error, sys.stdout)
"""


def program(functions: list[int], before: str = "", after: str = "") -> str:
    """A module with one function each that has names and constants of its own, and something of everything."""
    parts = [before, HEAD]
    for n in functions:
        parts.append(
            f"def function_{n}(argument_{n}={n * 1000003}, *, option_{n}='option {n}'):\n"
            f"    local = {{'key_{n}': argument_{n}, {n}: (option_{n}, {n}.5, 'constant number {n}')}}\n"
            f"    return local['key_{n}'], local[{n}]\n"
        )
    parts.append(f"FUNCTIONS = [{', '.join(f'function_{n}' for n in functions)}]\n{after}\n")
    return "\n".join(parts)


OLD = program(list(range(30)))
CHANGED = {
    "nothing": OLD,
    "a name at the top": program(list(range(30)), "new_name = 'new value'\n"),
    "names at the end": program([*range(30), 31, 32], after="last_name = len\n"),
    "functions dropped": program([n for n in range(30) if n not in (3, 4, 20)]),
    "functions in another order": program(list(range(29, -1, -1))),
    "more than 128 names for fewer": program(list(range(3))),
    "mostly new": program([1, 2, *range(100, 180)], "import sys as other\n"),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    scratch = tmp_path_factory.mktemp("compile")

    def run(source: str, board: boards.Board = PORTABLE) -> bytes:
        path = scratch / "source.py"
        path.write_text(source)
        return compile_source(path, "module.py", board, scratch)

    return run


@pytest.fixture(params=CHANGED.values(), ids=CHANGED)
def pair(request: pytest.FixtureRequest, compiled: Callable[..., bytes]) -> tuple[bytes, bytes]:
    return compiled(OLD), compiled(request.param)


@pytest.mark.built
def test_the_disassembly_is_the_same(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    """By MicroPython's own tool, which knows nothing of this module."""
    old, new = pair
    assert disassembly([relink_module(old, new).data], tmp_path) == disassembly([new], tmp_path)


@pytest.mark.built
def test_it_runs_the_same(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    old, new = pair
    assert len(run(new, tmp_path).splitlines()) > 10
    assert run(relink_module(old, new).data, tmp_path) == run(new, tmp_path)


@pytest.mark.built
def test_the_projects_own_modules(tmp_path: Path) -> None:
    """Every device library, linked to a version of itself with other names at the top."""
    linked_files, new_files = [], []
    for path in sorted((ROOT / "firmware").rglob("*.py")):
        if path.name in ("manifest.py", "viper.py", "in_place.py"):
            continue
        before = tmp_path / path.name
        before.write_text("import first_name\nfrom second_name import third_name\n" + path.read_text())
        new = compile_source(path, path.name, ARMV7M, tmp_path)
        linked = relink_module(compile_source(before, path.name, ARMV7M, tmp_path), new)
        assert linked.strings_kept >= linked.strings * 0.9 - 4
        linked_files.append(linked.data)
        new_files.append(new)
    assert disassembly(linked_files, tmp_path) == disassembly(new_files, tmp_path)


def test_numbers_are_kept_and_patches_shrink(compiled: Callable[..., bytes]) -> None:
    old, new = compiled(OLD), compiled(CHANGED["a name at the top"])
    linked = relink_module(old, new)
    strings, before = mpy.parse(linked.data).strings, mpy.parse(old).strings
    assert linked.strings == len(strings) == len(before) + 2 and len(strings) > 128
    assert linked.strings_kept >= linked.strings - 4
    assert sum(a != b for a, b in zip(before, strings, strict=False)) == len(before) - linked.strings_kept
    assert 2 * len(delta.make(old, linked.data)) < len(delta.make(old, new))


def test_deterministic_and_stable(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    linked = relink_module(old, new).data
    assert relink_module(old, new).data == linked
    assert relink_module(linked, new).data == linked
    assert relink_module(linked, linked).data == linked
    assert relink_module(new, new).data == new
    assert len(linked) == len(new)


def test_machine_code_passes_through(compiled: Callable[..., bytes]) -> None:
    native = "import micropython\n@micropython.viper\ndef double(a: int) -> int:\n    return 2 * a\nname = 'x'\n"
    old, new = compiled(native, ARMV7M), compiled("other = 'y'\n" + native, ARMV7M)
    for before in (old, new, compiled(OLD)):
        linked = relink_module(before, new)
        assert linked.native and linked.data == new
    assert not relink_module(old, compiled(OLD)).native


def test_programs_differ(compiled: Callable[..., bytes]) -> None:
    """The check that `relink` makes of its own work can fail."""
    one = mpy.parse(compiled("print(alpha, beta)\n"))
    assert same_program(one, mpy.parse(compiled("print(alpha, beta)\n")))
    assert not same_program(one, mpy.parse(compiled("print(beta, alpha)\n")))
    assert not same_program(one, mpy.parse(compiled("print(alpha, gamma)\n")))
    assert not same_program(one, mpy.parse(compiled("\nprint(alpha, beta)\n")))


def test_damaged_files_are_refused_or_linked(compiled: Callable[..., bytes]) -> None:
    """Whatever a file holds, it is refused with a reason or comes out as the same program."""
    chance = random.Random(5)
    old, new = compiled(OLD), compiled(CHANGED["mostly new"])
    refused = 0
    for _ in range(400):
        changed = bytearray(new)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            relink_module(old, bytes(changed))
        except mpy.MpyError as error:
            refused += 1
            assert error.message.startswith("the .mpy file ")
    assert 40 < refused < 360
    for size in range(0, len(new), 97):
        with pytest.raises(mpy.MpyError):
            relink_module(old, new[:size])


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for file in (data, b"M\x06\x00\x1f" + data):
        try:
            mpy.parse(file)
        except mpy.MpyError:
            continue


def test_deep_nesting_is_refused() -> None:
    tuples = b"M\x06\x00\x1f\x00\x01" + b"\x0a\x01" * 5000
    functions = b"M\x06\x00\x1f\x01\x00\x01" + b"\x44\x00\x02\x00\x51\x00\x00\x00\x00\x01" * 5000
    for data in (tuples, functions):
        with pytest.raises(mpy.MpyError):
            mpy.parse(data)


# ---------------------------------------------------------------- on the command line and in releases

Cli = Callable[..., Result]


def test_command_line(cli: Cli, compiled: Callable[..., bytes], tmp_path: Path) -> None:
    old, new, out = (tmp_path / name for name in ("old.mpy", "new.mpy", "out.mpy"))
    old.write_bytes(compiled(OLD))
    new.write_bytes(compiled(CHANGED["a name at the top"]))
    told = cli("delta", "relink", old, new, "--out", out, "--json")
    assert told.exit_code == 0, told.stderr
    facts = json.loads(told.stdout)
    assert facts["changed"] and facts["strings_kept"] > 100 and not facts["machine_code"]
    assert out.read_bytes() == relink_module(old.read_bytes(), new.read_bytes()).data != new.read_bytes()
    assert "strings and" in cli("delta", "relink", old, new).stdout
    assert new.read_bytes() == out.read_bytes()


def test_what_is_no_mpy_leaves_no_file(cli: Cli, compiled: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "new.mpy").write_bytes(compiled(OLD))
    for name, data, says in (
        ("text", b"not a module", "does not begin as one"),
        ("old", b"M\x05\x00\x1f", "version 5"),
    ):
        (tmp_path / name).write_bytes(data)
        result = cli("delta", "relink", tmp_path / name, tmp_path / "new.mpy", "--out", tmp_path / "out")
        assert result.exit_code == 1 and says in result.stderr and "mpy-cross" in result.stderr
    assert not (tmp_path / "out").exists()


def test_releases_keep_numbers(cli: Cli, project: Path, tmp_path: Path) -> None:
    """Each release is numbered like the first --previous, says so, and comes out the same when built again."""

    def build(out: str, version: str, sequence: int, *previous: str) -> Release:
        chain = [part for name in previous for part in ("--previous", tmp_path / name)]
        done = cli(
            *("release", "build", "--source", project, "--board", "qemu_mps2", "--version", version),
            *("--sequence", sequence, "--out", tmp_path / out, *chain),
        )
        assert done.exit_code == 0, done.stderr
        return load_release(tmp_path / out)

    def modules(built: Release) -> dict[str, bytes]:
        return romfs.files(built.payload(built.targets["qemu_mps2"].digest))

    app = project / "firmware" / "app" / "__init__.py"
    names = "\n".join(f"setting_{n} = {n}" for n in range(40))
    write_app(project, "one")
    app.write_text(app.read_text() + names)
    first = build("1", "1.0.0", 1)
    new_names = "try:\n    import a_new_module, another_one\nexcept ImportError:\n    pass\n"
    app.write_text(new_names + app.read_text())
    second = build("2", "1.1.0", 2, "1")
    fresh = build("fresh", "1.1.0", 2)
    assert first.targets["qemu_mps2"].predecessor is None
    assert second.targets["qemu_mps2"].predecessor == first.targets["qemu_mps2"].digest
    old, new, unlinked = (modules(built)["/app/__init__.mpy"] for built in (first, second, fresh))
    assert new == relink_module(old, unlinked).data != unlinked
    assert (tmp_path / "2" / "release.json").read_bytes() == (
        build("again", "1.1.0", 2, "1").folder / "release.json"
    ).read_bytes()
    third = build("3", "1.2.0", 3, "2", "1")
    assert third.targets["qemu_mps2"].predecessor == second.targets["qemu_mps2"].digest
    assert modules(third)["/app/__init__.mpy"] == new
    assert len(third.targets["qemu_mps2"].patches) == 2


# ---------------------------------------------------------------- MicroPython's own tools


def disassembly(modules: list[bytes], scratch: Path) -> list[tuple[list[str], list[str], list[str]]]:
    """Each module as MicroPython's mpy-tool.py shows it: code with names for numbers, and both tables, sorted."""
    if not MPY_TOOL.exists():
        pytest.skip("needs .toolchain (python tools/setup.py)")
    paths = []
    for number, module in enumerate(modules):
        paths.append(scratch / f"shown{number}.mpy")
        paths[-1].write_bytes(module)
    done = subprocess.run([sys.executable, MPY_TOOL, "-d", *paths], capture_output=True, text=True, timeout=limit(120))
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split("mpy_source_file: ")[1:]
    assert len(shown) == len(modules)
    return [_without_numbers(text) for text in shown]


def _without_numbers(text: str) -> tuple[list[str], list[str], list[str]]:
    head, _, rest = text.partition("obj_table: ")
    constants, _, code = rest.partition("\n")
    lines = [
        re.sub(r"^  ([0-9a-f:]+) ", lambda match: f"  {len(match[1])} ", line)
        for line in code.splitlines()
        if not line.startswith("  raw bytecode")
    ]
    assert sum("LOAD_" in line for line in lines) or len(lines) < 20
    return lines, sorted(head.splitlines()), sorted(constants)


def run(module: bytes, scratch: Path) -> str:
    """What the module's main() prints under MicroPython."""
    if not UNIX.exists():
        pytest.skip("needs build/unix/micropython (python tools/setup.py)")
    (scratch / "module.mpy").write_bytes(module)
    script = "import module; module.main()"
    done = subprocess.run([UNIX, "-c", script], cwd=scratch, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
