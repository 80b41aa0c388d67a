"""The emulator as a program: it starts, says what is wrong, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gone import is_gone, wait_until_gone
from patience import limit

from tidegate.boards.emulator import Emulator
from tidegate.errors import TidegateError


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_stop_and_kill_end_the_process(tmp_path):
    emulator = Emulator(tmp_path / "flash")
    for end in (emulator.stop, emulator.kill):
        emulator.start()
        pid = emulator.pid
        assert emulator.alive
        end()
        assert not emulator.alive
        assert is_gone(pid)


def test_an_idle_board_costs_next_to_nothing(tmp_path, prompt):
    """Three of them stay up through a run of the tests: a clock that woke each a thousand times a second cost 15 %."""
    with Emulator(tmp_path / "flash") as emulator:
        prompt(emulator)
        began, before = time.monotonic(), cpu_seconds(emulator.pid)
        time.sleep(3)
        assert cpu_seconds(emulator.pid) - before < 0.06 * (time.monotonic() - began)


def test_it_dies_with_its_parent(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from tidegate.boards.emulator import Emulator\n"
        "emulator = Emulator(sys.argv[1])\n"
        "emulator.start()\n"
        "print(emulator.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "flash")], capture_output=True, text=True, timeout=limit(20)
    )
    assert done.returncode == -signal.SIGKILL
    wait_until_gone(int(done.stdout))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_the_port_and_ends_politely(tmp_path, prompt, how):
    command = [sys.executable, "-c", "from tidegate.cli.emulate import emulate; emulate()"]
    command += ["--storage", str(tmp_path / "flash"), "--mac", "02:00:00:00:00:77"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pty = process.stdout.readline().strip()
        assert pty.startswith("/dev/pts/")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        board = Emulator(tmp_path / "unused")
        board.pty = pty
        assert prompt(board).eval("__import__('machine').unique_id()[5]") == 0x77
        process.send_signal(how)
        assert process.wait(limit(10)) == 0
    assert children
    for child in children:
        wait_until_gone(int(child))


def test_missing_firmware_names_the_remedy(tmp_path):
    with pytest.raises(TidegateError, match="make -C boards/qemu_mps2"):
        Emulator(tmp_path / "flash", firmware=tmp_path / "none.elf").start()
    assert not (tmp_path / "flash").exists()


def test_missing_qemu_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TidegateError, match="apt install qemu-system-arm"):
        Emulator(tmp_path / "flash").start()


def test_what_qemu_complains_about_is_passed_on(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        forward = f"tcp:127.0.0.1:{taken.getsockname()[1]}-:80"
        with pytest.raises(TidegateError, match="QEMU did not start: .*Could not set up host forwarding"):
            Emulator(tmp_path / "flash", hostfwd=[forward]).start()


def test_firmware_that_locks_the_core_up_ends_the_emulator(tmp_path):
    broken = tmp_path / "broken.elf"
    broken.write_bytes(bytes(100))
    emulator = Emulator(tmp_path / "flash", firmware=broken)
    with contextlib.suppress(TidegateError):
        emulator.start()
        assert emulator.wait() != 0
    assert not emulator.alive
    emulator.stop()
    assert "Lockup" in emulator.output()


@pytest.mark.parametrize("forward", ["", "tcp", "tcp::80-:80,restrict=off", "icmp::1-:1"])
def test_odd_forwards_are_refused(tmp_path, forward):
    with pytest.raises(TidegateError, match="not a port forward"):
        Emulator(tmp_path / "flash", hostfwd=[forward])


def test_an_unknown_cpu_is_refused(tmp_path):
    with pytest.raises(TidegateError, match="m3, m4, m7"):
        Emulator(tmp_path / "flash", cpu="z80")


def test_two_boards_run_side_by_side(tmp_path, prompt):
    with Emulator(tmp_path / "a,b", mac="02:00:00:00:00:01") as one, Emulator(tmp_path / "c") as two:
        assert one.pty != two.pty
        assert (tmp_path / "a,b").stat().st_size == 16 * 1024 * 1024
        assert prompt(one).eval("__import__('machine').unique_id()[5]") == 1
        assert prompt(two).eval("__import__('sys').platform") == "mps2"
