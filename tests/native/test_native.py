"""The C that boards run, as a program of this machine under AddressSanitizer and UndefinedBehaviorSanitizer: vectors,
changed input, and the same answers as the twins in Python."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
from array import array
from io import BytesIO
from pathlib import Path

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
MONOCYPHER = ROOT / ".toolchain/monocypher"
FLAGS = ["-g", "-O1", "-std=gnu11", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-fno-omit-frame-pointer", f"-I{HERE / 'stub'}", f"-I{MONOCYPHER}",
         f"-I{ROOT / 'boards/qemu_mps2/src'}", "-Wno-unused"]  # fmt: skip
CHANGED = 400  # cases a test, beside the vectors


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory):
    """A function that compiles a program of this folder; skips where no compiler has the sanitizers."""
    folder = tmp_path_factory.mktemp("native")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (folder / "try.c").write_text("int main(void) { return 0; }\n")
    tried = Compiled(folder / "try.c", folder / "try")
    if tried.complaints or tried.run([]).returncode:
        pytest.skip(f"gcc has no sanitizers: {tried.complaints[-200:]}")

    def compiled(name: str) -> Compiled:
        made = Compiled(HERE / f"{name}.c", folder / name)
        assert not made.complaints, made.complaints[-3000:]
        return made

    return compiled


class Compiled:
    """A program of this folder."""

    def __init__(self, source: Path, out: Path):
        self.out = out
        done = subprocess.run(["gcc", *FLAGS, source, "-o", out], capture_output=True, text=True)
        self.complaints = done.stderr if done.returncode else ""

    def run(self, cases: list[tuple[bytes, ...]]) -> subprocess.CompletedProcess[str]:
        lines = [" ".join(field.hex() or "-" for field in (case + (b"",) * 4)[:4]) for case in cases]
        given = "".join(line + "\n" for line in lines)
        return subprocess.run([str(self.out)], input=given, capture_output=True, text=True, timeout=limit(120))

    def answers(self, cases: list[tuple[bytes, ...]]) -> list[str]:
        done = self.run(cases)
        found = done.stdout.splitlines()
        case = cases[min(len(found), len(cases) - 1)]
        assert done.returncode == 0, f"case {len(found)}: {case}\n{done.stderr[-3000:]}"
        assert len(found) == len(cases)
        return found


def test_the_sanitizers_see_a_byte_too_far(build, tmp_path: Path) -> None:
    """A native module that writes beside its buffer is noticed here: the test of the tests below."""
    source = (ROOT / "firmware/native/_bspatch/adaptive.c").read_text()
    wrong = source.replace("for (size_t i = 0; i < view.len; i++)", "for (size_t i = 0; i <= view.len; i++)")
    assert wrong != source, "adapt the mutant"
    (tmp_path / "firmware/native/_bspatch").mkdir(parents=True)
    (tmp_path / "firmware/native/_bspatch/adaptive.c").write_text(wrong)
    shutil.copy(ROOT / "firmware/native/libc.h", tmp_path / "firmware/native")
    shutil.copytree(HERE, tmp_path / "tests/native", ignore=shutil.ignore_patterns("__pycache__"))
    done = Compiled(tmp_path / "tests/native/patch_cases.c", tmp_path / "mutant").run(patch_cases()[:30])
    assert done.returncode and "heap-buffer-overflow" in done.stderr


# ---------------------------------------------------------------- signatures


def vectors(name: str) -> list[dict]:
    return json.loads((ROOT / "tests/vectors" / f"{name}.json").read_text())


def test_signatures(build) -> None:
    if not (MONOCYPHER / "monocypher.c").exists():
        pytest.skip("no Monocypher: make setup fetches it")
    cases, expected = [], []
    for name in ("ed25519", "ed25519_edges"):
        for entry in vectors(name):
            if {"key", "message", "signature", "valid"} <= set(entry):
                cases.append(tuple(bytes.fromhex(entry[part]) for part in ("key", "message", "signature")))
                expected.append(str(int(entry["valid"])))
    assert len(cases) > 20 and {"0", "1"} <= set(expected)
    chance = random.Random(1)
    good = [case for case, verdict in zip(cases, expected, strict=True) if verdict == "1"]
    for _ in range(CHANGED):
        parts = [bytearray(part) for part in chance.choice(good)]
        part = chance.choice([part for part in parts if part])
        if chance.random() < 0.2:
            del part[chance.randrange(len(part)) :]
        else:
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        cases.append(tuple(map(bytes, parts)))
        expected.append("0")
    assert build("signature_cases").answers(cases) == expected


# ---------------------------------------------------------------- patches


def device() -> None:
    for folder in ("firmware/lib", "tests/device/support"):
        if str(ROOT / folder) not in sys.path:
            sys.path.append(str(ROOT / folder))


def patch_cases() -> list[tuple[bytes, ...]]:
    """(core, model, input) at the start of each patch of codec 1 in the vectors, and changed."""
    device()
    import bspatch
    from bspatch import adaptive, plain

    found, chance = [], random.Random(2)
    bodies = []
    for entry in [*vectors("adaptive_patches"), *vectors("host_patches")]:
        if "patch" in entry:
            stream = BytesIO(bytes.fromhex(entry["patch"]))
            head = bspatch.header(stream)
            body = stream.read()
            if head.codec != bspatch.DEFLATE and len(body) > 4:
                bodies.append((head.new_size, body))
    assert bodies
    for number in range(len(bodies) + CHANGED):
        size, body = bodies[number % len(bodies)]
        if number >= len(bodies):
            changed = bytearray(body)
            for _ in range(chance.randrange(1, 5)):
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            body = bytes(changed[: chance.randrange(3, len(changed) + 1)])
        steps = adaptive._Steps(BytesIO(body), plain)
        model = next(value for value in vars(steps).values() if isinstance(value, array) and value.typecode == "H")
        core = array("i", [0x1000000, int.from_bytes(body[:3], "big"), 0, max(0, len(body) - 3), 0, size, 0, 0, 0, 0])
        found.append((core.tobytes(), model.tobytes(), body[3:]))
    return found


def by_python(case: tuple[bytes, ...]) -> str:
    from bspatch import plain

    core, model = array("i", case[0]), array("H", case[1])
    said = ""
    for _ in range(400):
        plain.step(core, model, case[2])
        total = 0
        if core[plain.KIND] == plain.LITERAL:
            view = bytearray(min(core[plain.VALUE] + 1, 48))
            plain.literal(core, model, case[2], view)
            for byte in view:
                total = (total * 31 + byte) & 0xFFFFFF
        said += f"{core[plain.RUN]},{core[plain.KIND]},{core[plain.VALUE]},{core[plain.LENGTH]},{total} "
        if core[plain.KIND] >= plain.LAST or core[plain.LEFT_OFF] > 3:
            break
    return said


def test_patches(build) -> None:
    cases = patch_cases()
    found = build("patch_cases").answers(cases)
    for case, said in zip(cases, found, strict=True):
        assert said == by_python(case), case[2].hex()


def test_buffers_that_are_none_of_a_patch_are_refused(build) -> None:
    """Whatever Python code hands in: sizes and the places that core names are checked."""
    core, model, data = patch_cases()[0]
    chance, cases = random.Random(3), []
    for _ in range(CHANGED):
        changed = bytearray(core)
        struct.pack_into("<i", changed, 4 * chance.choice((2, 3, 7)), chance.choice((-1, 2**31 - 1, len(data) + 1, 9)))
        cases.append((bytes(changed), model, data))
        cases.append((core[: chance.randrange(len(core))], model, data))
        cases.append((core, model[: chance.randrange(len(model))], data))
    found = build("patch_cases").answers(cases)
    assert sum(said.startswith("raised") for said in found) > len(found) / 2


# ---------------------------------------------------------------- the emulated board's ROM segment


def test_nothing_beside_the_rom_segment_is_written(build) -> None:
    chance, cases = random.Random(4), []
    edges = (0, 1, -1, 4096, 4095, 1 << 20, (1 << 20) - 4096, (1 << 20) + 1, 2**31 - 1, -(2**31), 8192)
    for _ in range(2000):
        numbers = [chance.randrange(0, 8), 0, chance.choice(edges), chance.choice(edges)]
        numbers = numbers[: chance.randrange(1, 5)]
        cases.append((struct.pack(f"<{len(numbers)}i", *numbers), bytes(chance.randrange(300))))
    found = build("rom_cases").answers(cases)
    assert "-22" in found and "0" in found and "1" in found
