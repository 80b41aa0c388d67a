"""Cables pulled while a board is flashed, at random moments, again and again; and lines that speak nonsense.

Ground: the emulated Cortex-M3 behind a relay that is the cable. After every cut the board boots what it booted before
or what is asked for, and running the command again ends well.
"""

from __future__ import annotations

import os
import pty
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flash_bench import Bench, Cable, power_cycled
from lab.board import LabBoard

from tidegate.flash import loader_image
from tidegate.flash.flasher import flash, verify
from tidegate.flash.serial_session import BoardError, Session

FULL = bool(os.environ.get("TIDEGATE_FULL"))
CUTS = int(os.environ.get("TIDEGATE_CUTS", "20" if FULL else "2"))
SEED = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("cables"))
    made.build(1)
    made.build(2)
    return made


@pytest.fixture(scope="module")
def file_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The same board with its loader in files."""
    made = Bench(tmp_path_factory.mktemp("files"), "qemu_files")
    made.build(1)
    made.build(2)
    return made


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LabBoard]:
    made = LabBoard(tmp_path / "flash")
    made.emulator.start()
    yield made
    made.power_off()


@pytest.mark.soak
@pytest.mark.parametrize("kept", ("bench", "file_bench"))
def test_a_cable_pulled_at_random_moments(
    kept: str, board: LabBoard, record_property, request: pytest.FixtureRequest
) -> None:
    """The image and the loader change with every round; some cuts take the board's power, too."""
    print(f"seed {SEED} (TIDEGATE_SEED={SEED} repeats the moments, TIDEGATE_CUTS= makes more of them)")
    record_property("seed", SEED)
    bench: Bench = request.getfixturevalue(kept)
    chance = random.Random(SEED)
    bench.set_loader("one")
    with Cable(board.pty) as cable:
        flash(cable.port, bench.request(1))
        whole = cable.passed  # bytes of a flashing of everything
    before = "1 one"
    assert power_cycled(board) == before
    for round_ in range(CUTS):
        number, word = 2 - round_ % 2, f"round{round_}"
        bench.set_loader(word)
        asked = bench.request(number)
        allowed = {before, f"{before[0]} {word}", f"{number} {word}"}
        lose_power = chance.random() < 0.6
        with Cable(
            board.pty, chance.randrange(20, whole), board.emulator.kill if lose_power else lambda: None
        ) as cable:
            try:
                flash(cable.port, asked)
            except BoardError as error:
                assert cable.cut, f"round {round_}: failed without a cut: {error}"
        if lose_power or chance.random() < 0.3:
            found = power_cycled(board)
            assert found in allowed, f"round {round_}, cut at {cable.passed} of {whole}: boots {found}, not {allowed}"
        outcome = flash(board.pty, asked)  # now the application runs, or the raw REPL still waits for the rest
        assert outcome.slots and outcome.slots["slots"][outcome.slots["running"]]["sequence"] == number
        assert verify(board.pty, asked) == []
        before = f"{number} {word}"
        assert power_cycled(board) == before
        with Session(board.pty) as session:
            left = [path for path in session.list("/") if ".new" in path or "/tg/flash." in path or "/boot." in path]
            assert left == []


def test_what_has_arrived_is_not_sent_again(bench: Bench, board: LabBoard) -> None:
    with Cable(board.pty) as cable:
        flash(cable.port, bench.request(1))
        once = cable.passed
    with Cable(board.pty, once // 2) as cable, pytest.raises(BoardError):
        flash(cable.port, bench.request(2))
    board.emulator.kill()  # and the power went, too
    board.emulator.start()
    sent = []
    with Cable(board.pty) as cable:
        flash(cable.port, bench.request(2), lambda what, done, total: sent.append((what, done)))
        again = cable.passed
    assert again < once // 2, f"{again} bytes after {once // 2} of {once} had passed"
    assert min(done for what, done in sent if what.startswith("image")) > 16 * 1024
    assert power_cycled(board).startswith("2 ")


def test_the_power_goes_while_the_loader_is_written(bench: Bench, board: LabBoard) -> None:
    """The worst moment: the old loader is gone. The board finishes by itself, without a cable."""
    bench.set_loader("one")
    flash(board.pty, bench.request(1))
    bench.set_loader("two")
    packed = flash_until_loader_is_staged(bench, board)
    with Session(board.pty) as session:
        session.run(
            "import vfs\n"
            "vfs.rom_ioctl(3, 0, 8192, 4096)\n"  # as flash.install_loader begins
            "vfs.rom_ioctl(4, 0, 8192 + 4096, b'half of it')"
        )
    assert packed > 4096
    assert power_cycled(board) == "1 two"


def flash_until_loader_is_staged(bench: Bench, board: LabBoard) -> int:
    """Ends as the new loader is in its file, whole; its size."""
    request = bench.request(1)
    files, packed = loader_image.split(dict(request.loader(False)), request.board)
    assert packed
    with Session(board.pty) as session:
        session.put("/main.py", files["/main.py"])
        session.put(loader_image.STAGED, packed)
    return len(packed)


def test_the_power_goes_while_loader_files_change_places(file_bench: Bench, board: LabBoard) -> None:
    """Each step of it: the board has the old loader or finishes putting the new one in its place."""
    file_bench.set_loader("one")
    flash(board.pty, file_bench.request(1))
    for step, word in enumerate(("staged", "renamed", "dropped", "half")):
        file_bench.set_loader(word)
        files = dict(file_bench.request(1).loader(False))
        main = files.pop("/main.py")
        with Session(board.pty) as session:
            session.put("/main.py", main)
            for path, data in files.items():
                session.put(path.replace("/boot", "/boot.stage", 1), data)
            if step >= 1:
                session.rename("/boot.stage", "/boot.next")
            if step == 2:
                session.drop("/boot")
            if step == 3:
                session.remove("/boot/loader.mpy")
        assert power_cycled(board) == ("1 one" if step == 0 else f"1 {word}")


def test_noise_on_the_line_and_an_application_that_talks(bench: Bench, board: LabBoard) -> None:
    flash(board.pty, bench.request(1))
    with Session(board.pty) as session:
        session.put(
            "/main.py", b"import time\nwhile True:\n    print('noise > \\x04 raw REPL; OK' * 9)\n    time.sleep_ms(1)\n"
        )
        session.reset()
    time.sleep(0.5)
    noise = random.Random(SEED).randbytes(300)
    with Cable(board.pty, said=noise + b"\r\n>>> OK\x04\x04>raw REPL; CTRL-B to exit\r\n>") as cable:
        flash(cable.port, bench.request(1))
    assert power_cycled(board).startswith("1 ")


def test_a_raw_repl_left_half_way(bench: Bench, board: LabBoard) -> None:
    for half in (b"\x03\x01", b"\x03\x01\x05A\x01print('half", b"\x03\x01print('half", b"\x03\x02def f(:\r"):
        line = os.open(board.pty, os.O_RDWR | os.O_NOCTTY)
        os.write(line, half)
        time.sleep(0.2)
        os.close(line)
        outcome = flash(board.pty, bench.request(1))
        assert outcome.slots


def test_nothing_at_the_other_end(tmp_path: Path, bench: Bench) -> None:
    ours, theirs = pty.openpty()
    try:
        with pytest.raises(BoardError, match="no MicroPython answers") as failed:
            flash(os.ttyname(theirs), bench.request(1))
        assert "Check the cable" in failed.value.remedy
    finally:
        os.close(ours)
        os.close(theirs)
    with pytest.raises(BoardError, match="no MicroPython answers at /dev/ttyACM77: failed to access"):
        flash("a77", bench.request(1))
