"""`tidegate flash`: which board it takes, what it refuses, what it says; on emulated Cortex-M3 boards.

That a port is on USB is said by a stand-in for pyserial's list of ports, as an emulated board has none; the boards
behind the ports are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial.tools.list_ports
import toolchain
from click.testing import CliRunner, Result
from flash_bench import ROOT, Bench, Cable, power_cycled
from lab.board import LabBoard
from patience import limit
from serial.tools.list_ports_common import ListPortInfo

from tidegate.cli import main
from tidegate.flash import ports
from tidegate.flash.flasher import flash, verify
from tidegate.flash.serial_session import BoardError, Session

Usb = Callable[..., None]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("command"))
    made.build(1, filling=b"")
    made.build(2, filling=b"")
    return made


def new_board(folder: Path, number: int = 1) -> LabBoard:
    made = LabBoard(folder / f"flash-{number}", mac=f"02:00:00:00:00:0{number}")
    made.emulator.start()
    return made


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LabBoard]:
    made = new_board(tmp_path)
    yield made
    made.power_off()


@pytest.fixture(scope="module")
def flashed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabBoard]:
    """A board that runs release 1, for tests that leave it so."""
    made = new_board(tmp_path_factory.mktemp("flashed"), 9)
    flash(made.pty, bench.request(1))
    yield made
    made.power_off()


@pytest.fixture
def usb(monkeypatch: pytest.MonkeyPatch) -> Usb:
    """usb(port, ...): these are the ports that are on USB; a serial port that is not stands first."""

    def plug(*devices: str) -> None:
        found = [ListPortInfo("/dev/ttyS0", skip_link_detection=True)]
        for number, device in enumerate(devices):
            found.append(ListPortInfo(device, skip_link_detection=True))
            found[-1].vid, found[-1].pid, found[-1].serial_number = 0xF055, 0x9800, f"SN{number}"
        monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: found)

    return plug


def tidegate_flash(bench: Bench, *words: str | Path, release: int | None = 1) -> Result:
    line = ["flash", *map(str, words), "--source", str(bench.source)]
    line += ["--board", bench.board] if "--board" not in words else []
    line += ["--release", str(bench.folder / f"release-{release}")] if release else []
    return CliRunner().invoke(main, line, catch_exceptions=False)


def everything(bench: Bench) -> list[str | Path]:
    bench.request()
    return [
        "--trust",
        bench.trust,
        "--config",
        bench.folder / "config.json",
        "--credentials",
        bench.folder / "credentials.json",
    ]


# ------------------------------------------------------------------ which board


def test_names_are_those_of_mpremote(usb: Usb) -> None:
    usb("/dev/ttyACM3")
    assert [ports.resolve(name) for name in ("a0", "u1", "c7", "id:SN0", "port:/dev/x", "/dev/ttyS1")] == [
        "/dev/ttyACM0", "/dev/ttyUSB1", "COM7", "/dev/ttyACM3", "/dev/x", "/dev/ttyS1",
    ]  # fmt: skip
    assert ports.on_usb() == ["/dev/ttyACM3"]
    with pytest.raises(ports.PortError, match="no board with serial number SN9"):
        ports.resolve("id:SN9")
    with pytest.raises(ports.PortError, match="are one port"):
        ports.named(["a3", "id:SN0"])


def test_the_only_board_that_fits_is_taken(bench: Bench, flashed: LabBoard, usb: Usb) -> None:
    usb(flashed.pty)
    for words in ((), ("--auto",), ("auto",)):
        done = tidegate_flash(bench, *words)
        assert done.exit_code == 0 and "unchanged: /main.py loader image 1.0.1" in done.output, done.output


def test_several_that_fit_are_named(bench: Bench, flashed: LabBoard, board: LabBoard, usb: Usb) -> None:
    usb(flashed.pty, board.pty)
    done = tidegate_flash(bench)
    assert done.exit_code == 1
    both = ", ".join(sorted((flashed.pty, board.pty)))
    assert f"2 boards fit qemu_mps2: {both}" in done.output and "--all" in done.output
    usb()
    done = tidegate_flash(bench)
    assert done.exit_code == 1 and "no board found on USB" in done.output
    assert tidegate_flash(bench, "a0", "--all").exit_code == 2


def test_all_at_once_each_with_its_own_settings(bench: Bench, tmp_path: Path, usb: Usb) -> None:
    """Two boards that fit and a port where nothing answers; one board lacks its file and fails alone."""
    boards = [new_board(tmp_path, number) for number in (1, 2)]
    own = tmp_path / "gates"
    own.mkdir()
    config = json.loads((bench.folder / "config.json").read_text()) if bench.request() else {}
    (own / "020000000001.json").write_text(json.dumps({**config, "device": "gate-1"}))
    silent_ours, silent = os.openpty()
    words = [*everything(bench)[:2], "--config", own / "{id}.json", "--credentials", bench.folder / "credentials.json"]
    try:
        usb(*(board.pty for board in boards))
        done = tidegate_flash(bench, "--all", *words)
        assert done.exit_code == 1 and "--credentials" in done.output and "there are 2 boards" in done.output
        words[-1] = own / "{device}.credentials.json"
        for number in (1, 2):
            (own / f"qemu-mps2-02000000000{number}.credentials.json").write_text('{"user": "u", "password": "p"}')
        done = tidegate_flash(bench, "--all", *words)
        assert done.exit_code == 1 and f"1 of 2 boards failed: {boards[1].pty}" in done.output, done.output
        assert f"{own}/020000000002.json does not exist" in done.output
        assert "sequence 1" in done.output
        (own / "020000000002.json").write_text(json.dumps({**config, "device": "gate-2"}))
        usb(*(board.pty for board in boards), os.ttyname(silent))
        done = tidegate_flash(bench, "--all", *words, "--json")
        answer = json.loads(done.stdout)
        assert done.exit_code == 0 and answer["failed"] == 0
        assert [(entry["unique_id"], entry["slots"]["floor"]) for entry in answer["boards"]] == [
            ("020000000001", 1),
            ("020000000002", 1),
        ]
        done = tidegate_flash(bench, *(board.pty for board in boards), "--verify-only", release=2)
        assert done.exit_code == 1 and done.output.count("the running slot does not hold 1.0.2") >= 2
        for number, board in enumerate(boards, 1):
            with Session(board.pty) as session:
                assert session.value("open('/tg/config.json').read()").count(f"gate-{number}") == 1
    finally:
        for board in boards:
            board.power_off()
        os.close(silent)
        os.close(silent_ours)


# ------------------------------------------------------------------ what is refused


def refused(bench: Bench, board: LabBoard, *words: str | Path, release: int | None = 1) -> str:
    """What it says; the board holds afterwards what it held before."""
    with Session(board.pty) as session:
        before = session.digests(session.list("/"))
    done = tidegate_flash(bench, board.pty, *words, release=release)
    assert done.exit_code == 1, done.output
    with Session(board.pty) as session:
        assert session.digests(session.list("/")) == before
    return done.output


def change(bench: Bench, old: str, new: str) -> None:
    file = bench.source / "boards" / bench.board / "board.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def other(bench: Bench, tmp_path: Path) -> Iterator[Bench]:
    """The bench with a board.toml that a test may change."""
    file = bench.source / "boards" / bench.board / "board.toml"
    before = file.read_text()
    yield bench
    file.write_text(before)


def test_another_board(bench: Bench, flashed: LabBoard) -> None:
    said = refused(bench, flashed, "--board", "unix", release=None)
    assert "is a 'MPS2-AN385 (QEMU) with Cortex-M3', not a unix" in said
    assert "It looks like --board qemu_mps2" in said


def test_another_micropython(other: Bench, flashed: LabBoard) -> None:
    change(other, "[flash]\n", '[flash]\nmicropython = "1.99"\n')
    said = refused(other, flashed)
    assert f"has MicroPython {toolchain.VERSION}, qemu_mps2 needs 1.99 or newer" in said
    assert "boards/qemu_mps2/README.md says how" in said


def test_machine_code_for_another_core(other: Bench, flashed: LabBoard) -> None:
    change(other, 'arch = "armv7m"', 'arch = "armv7emdp"')
    said = refused(other, flashed)
    assert "hold machine code for armv7emdp" in said and "loads armv7em\n" in said


def test_a_wrong_board_file(other: Bench, flashed: LabBoard) -> None:
    change(other, 'kind = "rom"', 'kind = "ram"')
    assert "slots.kind is 'ram'; it may be 'rom', 'file'" in refused(other, flashed)


def test_settings_of_another_board_and_a_wrong_claim(bench: Bench, flashed: LabBoard, tmp_path: Path) -> None:
    wrong = tmp_path / "config.json"
    wrong.write_text('{"board": "unix"}')
    assert "is for a board 'unix', this one is a qemu_mps2" in refused(bench, flashed, "--config", wrong)
    wrong.write_text('{"board": "qemu_mps2", "product": "another", "vendor": "tidegate.example"}')
    assert "has the product 'another', the release 'p'" in refused(bench, flashed, "--config", wrong)
    assert "json is not a trust store: " in refused(bench, flashed, "--trust", wrong)
    wrong.write_text("tgc1_mistyped")
    assert "config.json: this is not a claim" in refused(bench, flashed, "--claim", wrong)
    assert "gates/{name}.json has {name} in its name" in refused(bench, flashed, "--config", "gates/{name}.json")


def test_a_release_that_lacks_the_board(bench: Bench, flashed: LabBoard, tmp_path: Path) -> None:
    index = json.loads((bench.folder / "release-1" / "release.json").read_text())
    index["targets"] = {"unix": index["targets"]["qemu_mps2"]}
    (tmp_path / "release.json").write_text(json.dumps(index))
    said = refused(bench, flashed, "--release", tmp_path, release=None)
    assert "has no image for qemu_mps2, only for unix" in said


def test_a_full_file_system(bench: Bench, board: LabBoard) -> None:
    with Session(board.pty) as session:
        session.run(
            "with open('/ballast', 'wb') as f:\n    for _ in range(240):\n        f.write(bytes(4096))",
            timeout=limit(60),
        )
    said = refused(bench, board, *everything(bench))
    assert "bytes free, flashing this needs" in said and "mpremote rm" in said
    with Session(board.pty) as session:
        session.remove("/ballast")
    assert tidegate_flash(bench, board.pty, *everything(bench)).exit_code == 0
    assert power_cycled(board).startswith("1 ")


def test_an_image_larger_than_the_ram(bench: Bench, flashed: LabBoard) -> None:
    """It runs from a file slot: only modules that are imported are loaded, of a heap of 128 KiB."""
    bench.build(3, filling=os.urandom(140_000))
    done = tidegate_flash(bench, flashed.pty, "--slots", "file", release=3)
    assert done.exit_code == 0, done.output
    assert power_cycled(flashed).startswith("3 ")
    assert tidegate_flash(bench, flashed.pty, "--slots", "rom").exit_code == 0
    assert power_cycled(flashed).startswith("1 ")


def test_a_heap_too_small_for_file_slots(bench: Bench, tmp_path: Path) -> None:
    command = ["make", "-s", "-C", str(ROOT / "boards" / "qemu_mps2"), "HEAP=90112", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(400))
    assert done.returncode == 0, done.stderr[-1000:]
    small = LabBoard(tmp_path / "flash", mac="02:00:00:00:00:08", firmware=ROOT / "build/qemu_mps2/firmware-90112.elf")
    small.emulator.start()
    try:
        said = refused(bench, small, *everything(bench), "--slots", "file", release=2)
        assert "bytes of heap, an image in a file needs 102400" in said and "with a ROM segment" in said
    finally:
        small.power_off()


def test_a_fresh_board_needs_everything(bench: Bench, board: LabBoard) -> None:
    said = refused(bench, board)
    assert "has no /tg/config.json yet" in said and "--config FILE" in said
    said = refused(bench, board, *everything(bench)[:4])
    assert "--credentials FILE, or a claim with --claim" in said
    said = refused(bench, board, *everything(bench)[2:])
    assert "has no /tg/trust.cbor yet" in said and "--trust FILE" in said
    said = refused(bench, board, *everything(bench), release=None)
    assert "has no image yet" in said


# ------------------------------------------------------------------ what is on the board


def test_verify_only_names_what_differs_and_changes_nothing(bench: Bench, flashed: LabBoard, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"board": "qemu_mps2", "device": "another", "product": "p", "vendor": "tidegate.example"}')
    with Session(flashed.pty) as session:
        session.put("/boot/extra.py", b"1/0")
    said = refused(bench, flashed, "--verify-only", "--config", config, release=2)
    for line in (
        "/tg/config.json differs",
        "/boot/extra.py is not the loader's",
        "the running slot does not hold 1.0.2",
    ):
        assert f"{flashed.pty}: {line}" in said
    done = tidegate_flash(bench, flashed.pty)
    assert "removed: /boot/extra.py" in done.output
    done = tidegate_flash(bench, flashed.pty, "--verify-only", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout) == {"port": flashed.pty, "differences": []}
    assert power_cycled(flashed).startswith("1 ")


def test_a_dirty_boot_folder_and_the_users_own_files(bench: Bench, board: LabBoard) -> None:
    with Session(board.pty) as session:
        for path in ("/boot/loader.py", "/boot/board.py", "/boot/lib/cose.py"):
            session.put(path, b"raise SystemExit('an old one')")
        for path in ("/mine.txt", "/tg/notes", "/lib/driver.py"):
            session.put(path, b"mine")
    done = tidegate_flash(bench, board.pty, *everything(bench))
    assert "removed: /boot/" in done.output
    assert power_cycled(board).startswith("1 ")
    with Session(board.pty) as session:
        assert {"/mine.txt", "/tg/notes", "/lib/driver.py"} <= set(session.list("/"))
        assert not session.list("/boot")


def test_ctrl_c_leaves_nothing_behind(bench: Bench, board: LabBoard) -> None:
    """The command is interrupted in the middle of the image; the board runs again what it ran before."""
    flash(board.pty, bench.request(1))
    if not (bench.folder / "release-4").exists():
        bench.build(4)
    command = [sys.executable, ROOT / "tools" / "flash.py"]
    with Cable(board.pty) as cable:
        words = [cable.port, "--board", bench.board, "--source", bench.source, "--release", bench.folder / "release-4"]
        process = subprocess.Popen(
            list(map(str, [*command, *words])), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        waiting = threading.Event()
        while cable.passed < 30_000 and process.poll() is None:
            waiting.wait(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=limit(30))
        assert process.returncode == 130 and "Interrupted" in said, said
    board.watch()
    board.wait_line(r"app 1, loader", 20, len(board.lines) - 1)
    board.unwatch()
    with Session(board.pty) as session:
        assert not [path for path in session.list("/") if ".new" in path or "flash." in path]
    assert "the running slot does not hold 1.0.4" in verify(board.pty, bench.request(4))


def test_a_watchdog_that_the_application_started_is_fed(other: Bench, board: LabBoard) -> None:
    """It cannot be stopped on most boards; board.toml names its longest timeout."""
    change(other, "[flash]\n", "[flash]\nwatchdog_ms = 1500\n")
    request = other.request(1)
    flash(board.pty, request)
    with Session(board.pty) as session, pytest.raises(BoardError):
        session.feed_watchdog(1000)
        session.run("import time\nwhile True:\n    pass", timeout=2)  # what is not fed is reset
    assert power_cycled(board).startswith("1 ")
