"""The read-only file system over an image in a file: the same answers as MicroPython's own, imports through it."""

import os
import sys

import scratch
from boot.fileslots import Image
from boot.romfs import FileSystem
from check import Random, equal, ground, raises, skip, true

HEAP = "1m"
GROUNDS = ("cpython", "unix", "cortex-m3")

LONG = bytes(range(256)) * 3
MODULE = b"from . import inner\nVALUE = inner.VALUE + 1\n"
TREE = {
    "empty.bin": b"",
    "long.bin": LONG,
    "notes.txt": "Grüße\nzweite Zeile\n".encode(),
    "lib": {
        "tg_plain.py": b"VALUE = 7\n",
        "tg_rooms": {"__init__.py": MODULE, "inner.py": b"VALUE = 41\n", "deep": {"a": b"1", "b": b"22"}},
    },
}


def number(value):
    """A number of the format: base 128, the highest first."""
    found = bytes((value & 127,))
    value >>= 7
    while value:
        found = bytes((128 | value & 127,)) + found
        value >>= 7
    return found


def record(kind, payload):
    return number(kind) + number(len(payload)) + payload


def entries(tree):
    found = b""
    for name, what in tree.items():
        head = number(len(name)) + name.encode()
        if isinstance(what, dict):
            found += record(4, head + entries(what))
        else:
            # Padding where a page begins, as the builder of images writes it.
            found += record(5, head + record(1, b"..") + record(2, what))
    return found


def image(tree=None):
    inside = entries(TREE if tree is None else tree)
    return b"\xd2\xcd\x31" + number(len(inside)) + inside


def opened(data):
    """An Image that holds `data`."""
    path = scratch.folder() + "/a.img"
    scratch.write(path, data)
    return Image(open(path, "rb"))


def files():
    return FileSystem(opened(image()))


def walk(system, path=""):
    """Path -> content, through ilistdir and open."""
    found = {}
    for entry in list(system.ilistdir(path)):
        inner = path + "/" + entry[0]
        if entry[1] & 0x4000:
            found[inner] = None
            found.update(walk(system, inner))
        else:
            with system.open(inner, "rb") as file:
                data = file.read()
            equal(len(data), entry[3], inner)
            equal(system.stat(inner)[6], len(data), inner)
            found[inner] = data
    return found


def expected(tree, path=""):
    found = {}
    for name, what in tree.items():
        inner = path + "/" + name
        found[inner] = None if isinstance(what, dict) else what
        if isinstance(what, dict):
            found.update(expected(what, inner))
    return found


def error(call, *arguments):
    try:
        call(*arguments)
    except OSError as problem:
        return problem.args[0]  # CPython sets errno only with a text
    return None


def test_every_file_is_found():
    equal(walk(files()), expected(TREE))


def test_paths_as_the_system_gives_them():
    system = files()
    for path in ("", "/", "/lib", "/lib/"):
        equal(system.stat(path)[0], 0x4000, path)
    equal(system.stat("lib/tg_rooms/deep/b")[6], 2)
    # Another folder in between, and one that does not exist: neither is remembered as the other.
    for path in ("/lib/none", "/none/deep/b", "/lib/tg_plain.py/x", "/long.bin/x", "/lib/tg_rooms/dee"):
        equal(error(system.stat, path), 2, path)
        equal(system.stat("/lib/tg_rooms/deep/b")[6], 2, path)
    equal(error(system.stat, "/" + "n" * 200), 2)
    equal(error(system.open, "/lib", "rb"), 21)
    for mode in ("w", "ab", "r+b", "x"):
        equal(error(system.open, "/long.bin", mode), 30, mode)


def test_reading_a_file():
    system = files()
    file = system.open("/long.bin", "rb")
    equal((file.read(3), file.tell(), file.read(0)), (LONG[:3], 3, b""))
    piece = bytearray(100)
    equal((file.readinto(piece), bytes(piece)), (100, LONG[3:103]))
    equal(file.seek(-5, 2), len(LONG) - 5)
    equal((file.readinto(piece), bytes(piece[:5])), (5, LONG[-5:]))
    equal((file.readinto(piece), file.read(), file.read(10)), (0, b"", b""))
    equal(file.seek(5000), 5000)
    equal(file.read(), b"")
    equal(error(file.seek, -1), 22)
    other = system.open("/lib/tg_rooms/deep/a", "rb")
    file.seek(0)
    equal((other.read(), file.read(4)), (b"1", LONG[:4]), "two at once")
    text = system.open("/notes.txt", "r")
    equal(text.readline(), "Grüße\n")
    equal(text.read(), "zweite Zeile\n")


def test_the_same_answers_as_micropythons_own():
    if ground == "cpython":
        skip("CPython has no vfs")
    import vfs

    if not hasattr(vfs, "VfsRom"):
        skip("no VfsRom here, which is why the other one exists")
    ours, theirs = files(), vfs.VfsRom(image())
    names = [sorted(entry[:2] for entry in of.ilistdir("/lib")) for of in (ours, theirs)]
    equal(names[0], names[1])
    for path, what in expected(TREE).items():
        found = ours.stat(path), theirs.stat(path)
        size = 10 if what is not None else 6  # of a folder, only the kind means something
        equal(found[0][:size], found[1][:size], path)
    for path in ("/none", "/lib/none", "/long.bin/x"):
        equal(error(ours.stat, path), error(theirs.stat, path), path)


def test_modules_are_imported_through_it():
    if ground == "cpython":
        skip("CPython has no vfs")
    import vfs

    vfs.mount(files(), "/tg_romfs")
    sys.path.insert(0, "/tg_romfs/lib")
    try:
        import tg_plain
        import tg_rooms

        equal((tg_plain.VALUE, tg_rooms.VALUE), (7, 42))
        raises(ImportError, __import__, "tg_rooms.none")
        with open("/tg_romfs/notes.txt") as file:
            equal(len(file.read()), 19)
        equal(sorted(os.listdir("/tg_romfs/lib/tg_rooms/deep")), ["a", "b"])
    finally:
        sys.path.remove("/tg_romfs/lib")
        vfs.umount("/tg_romfs")
        for name in ("tg_plain", "tg_rooms", "tg_rooms.inner"):
            sys.modules.pop(name, None)


def test_what_is_no_image_is_not_mounted():
    whole = image()
    for data in (b"", b"\xd2\xcd\x31", b"\xd2\xcd\x32" + whole[3:], whole[:-1], b"\xff" * 100):
        true(error(FileSystem, opened(data)) in (5, 22), data[:4])


def test_a_damaged_image_ends_every_search():
    """Any byte changed: an answer or an OSError, never an endless loop or another exception."""
    whole = bytearray(image())
    random = Random(11)
    place = opened(bytes(whole))
    for _ in range(60 if ground == "cortex-m3" else 400):
        at = random.below(len(whole))
        before, whole[at] = whole[at], random.below(256)
        place = opened(bytes(whole))
        try:
            walk(FileSystem(place))
        except (OSError, UnicodeError, AssertionError):
            pass
        whole[at] = before
