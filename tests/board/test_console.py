"""The console: what mpremote needs of it."""

from pathlib import Path

import toolchain
from mpremote.transport_serial import SerialTransport
from patience import limit, until


def test_ctrl_c_interrupts_a_loop_that_reads_nothing(board, prompt):
    repl = prompt(board)
    repl.start("print('looping')\nwhile True: pass")
    repl.read_until(b"looping")
    repl.send(b"\x03")
    repl.read_until(b"KeyboardInterrupt")
    assert repl.eval("6 * 7") == 42


def test_ctrl_c_gets_through_when_input_overflows(board, prompt):
    repl = prompt(board)
    repl.start("import time\nprint('deaf')\nwhile True: time.sleep(1)")
    repl.read_until(b"deaf")
    repl.send(b"x" * 5000 + b"\x03")
    repl.read_until(b"KeyboardInterrupt")


def test_a_long_script_arrives_whole(board, prompt):
    lines = "".join(f"total += {number}  # {'-' * 60}\n" for number in range(300))
    assert len(lines) > 20_000
    repl = prompt(board)
    repl.exec(f"total = 0\nsource = {'a' * 8000!r}\n")
    for start in range(0, 300, 50):
        repl.exec("".join(lines.splitlines(keepends=True)[start : start + 50]))
    assert repl.eval("total") == sum(range(300))
    assert repl.eval("source") == "a" * 8000


def test_output_nobody_reads_does_not_stop_the_board(board, prompt):
    repl = prompt(board)
    program = "import os\nfor i in range(3000): print('x' * 20)\nos.mkdir('/do' + 'ne')\n"
    repl.exec(f"f = open('/main.py', 'w'); f.write({program!r}); f.close()")
    repl.start("import machine; machine.reset()")
    repl.close()
    until("the folder on flash", lambda: b"done" in board.storage.read_bytes())
    assert prompt(board).eval("'done' in __import__('os').listdir('/')")


def test_friendly_prompt_and_soft_reset(board):
    transport = SerialTransport(board.pty, timeout=0.5)
    transport.serial.write(b"\x03\x04")
    said = transport.read_until(1, b">>> ", timeout=limit(10))
    transport.close()
    assert f"MicroPython v{toolchain.VERSION} ".encode() in said
    assert b"Cortex-M3" in said


def test_mpremote_copies_runs_and_mounts(board, mpremote, tmp_path: Path):
    text = tmp_path / "text.bin"
    text.write_bytes(bytes(range(256)) * 64)
    mpremote(board, "fs", "cp", str(text), ":/text.bin")
    assert "16384 text.bin" in mpremote(board, "fs", "ls")
    mpremote(board, "fs", "cp", ":/text.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == text.read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "there.py").write_text("print('from the host')")
    assert "from the host" in mpremote(board, "mount", str(folder), "exec", "import there")
    script = tmp_path / "script.py"
    script.write_text("print(sum(range(10)))")
    assert mpremote(board, "run", str(script)).strip() == "45"


def test_mpremote_deploys_a_rom_file_system(board, mpremote, prompt, tmp_path: Path):
    assert "1048576 bytes (256 blocks of 4096 bytes each)" in mpremote(board, "romfs", "query")
    folder = tmp_path / "rom"
    folder.mkdir()
    (folder / "inrom.py").write_text("def answer():\n    return 42\n")
    mpremote(board, "romfs", "--mpy", "deploy", str(folder))
    repl = prompt(board)
    repl.restart()
    repl = prompt(board)
    # The core mounts a ROMFS at the start of segment 0 by itself.
    assert repl.eval("__import__('inrom').answer()") == 42
    assert repl.eval("__import__('inrom').__file__") == "/rom/inrom.mpy"
