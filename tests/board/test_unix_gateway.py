"""The Linux gateway: the same Board object on files and processes."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
MICROPYTHON = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build/unix/micropython"))

MAIN = """
import os
from boot.board import Board
board = Board()
cause = board.reset_cause()
print("cause", cause, sorted(os.listdir("/")))
"""


@pytest.fixture
def gateway(tmp_path):
    """gateway(program): runs it as /main.py under boards/unix/gateway; the exit code and the lines it printed."""

    def run(program: str) -> tuple[int, list[str]]:
        (tmp_path / "boot").mkdir(exist_ok=True)
        (tmp_path / "boot/__init__.py").touch()
        shutil.copy(ROOT / "boards/unix/board.py", tmp_path / "boot")
        (tmp_path / "main.py").write_text(MAIN + program)
        done = subprocess.run(
            [ROOT / "boards/unix/gateway", tmp_path], capture_output=True, text=True, timeout=limit(20)
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    assert MICROPYTHON.exists(), "build it: make -C boards/unix"
    return run


def test_resets_and_the_watchdog_start_it_again(gateway):
    code, said = gateway(
        "import time\n"
        "if cause == 'power-on':\n"
        "    board.reset()\n"
        "if cause == 'hard':\n"
        "    dog = board.watchdog(200)\n"
        "    for _ in range(4): time.sleep_ms(100); dog.feed()\n"
        "    print('fed')\n"
        "    while True: pass\n"
    )
    assert code == 0
    files = "['.lock', 'boot', 'main.py', 'rom.bin']"
    expected = [f"cause power-on {files}", f"cause hard {files}", "fed", f"cause watchdog {files}"]
    assert [line for line in said if not line.startswith("Alarm")] == expected


def test_what_it_writes_is_for_its_user_only(gateway, tmp_path):
    code, _ = gateway("os.mkdir('/tg')\nwith open('/tg/key.new', 'wb') as file: file.write(b'secret')\n")
    assert code == 0
    assert (tmp_path / "tg/key.new").stat().st_mode & 0o077 == 0
    assert (tmp_path / "tg").stat().st_mode & 0o077 == 0


def test_rom_has_the_manners_of_flash(gateway, tmp_path):
    code, said = gateway(
        "rom = board.rom()\n"
        "print(board.rom_size(), len(rom), bytes(rom[:2]))\n"
        "board.rom_write(5, b'\\x0f'); board.rom_write(5, b'\\xf3'); print(bytes(rom[4:7]))\n"
        "board.rom_write(4095, b'\\x00\\x00')\n"
        "board.rom_erase(0, 4096)\n"
        "print(bytes(rom[4:7]), bytes(rom[4095:4097]))\n"
        "for bad in ((1, 4096), (0, 1), (1048576, 4096), (-4096, 4096)):\n"
        "    try: board.rom_erase(*bad); print('erased', bad)\n"
        "    except OSError as error: print(error.errno)\n"
        "try: board.rom_write(1048575, b'12'); print('written')\n"
        "except OSError as error: print(error.errno)\n"
    )
    assert code == 0, said
    assert said[1:] == [
        "1048576 1048576 b'\\xff\\xff'",
        "b'\\xff\\x03\\xff'",
        "b'\\xff\\xff\\xff' b'\\xff\\x00'",
        *["22"] * 5,
    ]
    assert (tmp_path / "rom.bin").read_bytes()[4096] == 0


def test_the_id_stays(gateway):
    first = gateway("print(board.unique_id())\n")[1][1]
    assert gateway("print(board.unique_id())\n")[1][1] == first
    unique_id = ast.literal_eval(first)
    assert len(unique_id) == 6
    assert unique_id != bytes(6)


def test_a_crash_is_not_taken_for_a_power_cut(gateway):
    code, said = gateway("if cause == 'power-on': raise ValueError('boom')\n")
    assert code == 0
    assert any(line.startswith("cause unknown") for line in said)
