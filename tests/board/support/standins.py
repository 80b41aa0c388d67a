# ruff: noqa: PTH102, PTH123, UP031 - for MicroPython
"""Runs one board's board.py, compiled as it is flashed, against stand-ins for its hardware, and holds it to the
contract of docs/adding-a-board.md. Started by test_board_folders.py on MicroPython's unix port.

There is none of this hardware here: what is checked is that our code asks MicroPython's own modules for the right
things in the right way, as their documentation and sources have them. That the hardware then does so is not checked.

Arguments: the folder with boot/ in it, what the board is (rp2, stm32, mimxrt), its network, and how its flash is laid
out: "stock" or "segment".
"""

import json
import os
import sys

FOLDER, PORT, NETWORK, LAYOUT = sys.argv[1:5]
ROOT = "/" if PORT == "rp2" else "/flash"
FILES = 376832
STORAGE = 848 * 1024
CALLS = []


def equal(found, expected, what):
    if found != expected:
        raise AssertionError("%s: %r instead of %r" % (what, found, expected))


class WDT:
    def __init__(self, id=0, timeout=5000):
        if PORT == "rp2" and timeout > 8388:
            raise ValueError("timeout exceeds 8388")
        if PORT == "stm32" and timeout > 32767:
            raise ValueError("WDT timeout too long")
        CALLS.append(("watchdog", timeout))

    def feed(self):
        CALLS.append(("feed",))


class RTC:
    def datetime(self, value):
        CALLS.append(("clock", value))


class Machine:
    PWRON_RESET, WDT_RESET = 1, 3
    WDT, RTC = WDT, RTC
    mem32 = {}
    cause = 1

    def unique_id(self):
        return bytes(range(12 if PORT == "stm32" else 8))

    def reset(self):
        CALLS.append(("reset",))

    def reset_cause(self):
        return self.cause


if PORT != "rp2":
    Machine.SOFT_RESET = 5 if PORT == "mimxrt" else 0
if PORT == "stm32":
    Machine.HARD_RESET, Machine.DEEPSLEEP_RESET = 2, 4


class Nic:
    """WLAN's station, LAN and WIZNET5K: connected once somebody has asked for it."""

    def __init__(self, *interface):
        CALLS.append(("interface",) + interface)
        self.is_up = False

    def active(self, *value):
        if value:
            CALLS.append(("active",) + value)
            self.is_up = NETWORK != "wlan"

    def connect(self, ssid, password=None):
        CALLS.append(("connect", ssid, password))
        self.is_up = True

    def isconnected(self):
        return self.is_up

    def ifconfig(self):
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1")


class Network:
    STA_IF = 0

    def country(self, code):
        CALLS.append(("country", code))


if NETWORK == "wlan":
    Network.WLAN = Nic
if NETWORK in ("lan", "both"):
    Network.LAN = Nic
    Network.WLAN = Nic
if NETWORK == "wiznet5k":
    Network.WIZNET5K = Nic


class Flash(bytearray):
    """rp2.Flash: a block device whose memory can be seen; NOR flash, erased in blocks and written in pages."""

    whole = bytearray(b"\xff" * STORAGE)

    def __init__(self, start=0, len=STORAGE):
        super().__init__(b"\xff" * len)

    def ioctl(self, what, block):
        if what == 4:
            return len(self) // 4096
        if what == 6:
            self[block * 4096 : block * 4096 + 4096] = b"\xff" * 4096
        return 0

    def writeblocks(self, block, data, offset):
        at = block * 4096 + offset
        if at % 256 or len(data) % 256:
            raise AssertionError("the SDK writes whole pages only")
        for index in range(len(data)):
            self[at + index] &= data[index]


class Rp2:
    Flash = Flash


class Vfs:
    """rom_ioctl as of 1.29, or as of 1.25, which can erase from the beginning only."""

    segment = bytearray(b"\xff" * 65536)

    def rom_ioctl(self, what, *more):
        if what == 1:
            return 1
        if what == 2:
            return memoryview(self.segment)
        if what == 3 and LAYOUT == "segment":
            start, length = more[1:]
            if start + length > len(self.segment):
                return -22
            self.segment[start : start + length] = b"\xff" * length
            return 4
        if what == 4:
            start, data = more[1:]
            for index in range(len(data)):
                self.segment[start + index] &= data[index]
            return 0
        if what == 6 and LAYOUT == "segment":
            return 4096
        return -22


class RomOfRp2:
    """rom_ioctl of a port rp2 that was built with a segment: it gives out its flash, and does no more."""

    segment = None

    def rom_ioctl(self, what, *more):
        if what == 1:
            return 1
        if what == 2:
            RomOfRp2.segment = RomOfRp2.segment or Flash(0, STORAGE - FILES)
            return RomOfRp2.segment
        return -22


class Os:
    """os with the file system's root where the port mounts it, kept in the folder."""

    urandom = os.urandom

    def statvfs(self, path):
        blocks = (FILES if LAYOUT == "segment" else STORAGE) // 4096
        return (4096, 4096, blocks, blocks, blocks, 0, 0, 0, 0, 255)

    def sync(self):
        CALLS.append(("sync",))


machine = Machine()
sys.modules["machine"] = machine
sys.modules["network"] = Network()
sys.modules["os"] = Os()
if PORT == "rp2":
    sys.modules["rp2"] = Rp2()
    sys.modules["vfs"] = RomOfRp2() if NETWORK == "none" and LAYOUT == "segment" else object()
if PORT == "stm32" and NETWORK != "lan":
    sys.modules["vfs"] = Vfs()
elif PORT == "stm32":  # no ROM segment: vfs has no rom_ioctl
    sys.modules["vfs"] = object()
sys.path.insert(0, FOLDER)
from boot.board import Board  # noqa: E402

Board.folder = FOLDER + Board.folder  # where this script may write
os.mkdir(FOLDER + ROOT) if ROOT != "/" else None
os.mkdir(Board.folder)


def write_settings(network):
    with open(Board.folder + "/network.json", "w") as file:
        json.dump(network or {}, file)


def check_parts():
    board = Board()
    equal(Board.folder, FOLDER + ROOT.rstrip("/") + "/tg", "folder")
    equal(board.unique_id(), bytes(range(12 if PORT == "stm32" else 8)), "unique_id")
    equal(len(board.random(16)), 16, "random")
    board.sync(board.folder)
    equal(CALLS.pop(), ("sync",), "sync")
    for asked in (8000, 10**6):
        dog = board.watchdog(asked)
        longest = {"rp2": 8388, "stm32": 32767, "mimxrt": 128000}[PORT]
        equal(CALLS.pop(), ("watchdog", min(asked, longest)), "watchdog")
        dog.feed()
        equal(CALLS.pop(), ("feed",), "feed")
    board.reset()
    equal(CALLS.pop(), ("reset",), "reset")
    board.know_time(1893456000)  # 2030-01-01
    equal(CALLS.pop(), ("clock", (2030, 1, 1, 1, 0, 0, 0, 0)), "know_time")
    board.know_time(1000000000)
    equal(CALLS[-1][0] == "clock" if CALLS else False, False, "an earlier time is no news")


def check_causes():
    board = Board()
    machine.mem32 = {0x4005801C: 0x6AB73121, 0x400D801C: 0x6AB73121}
    for name, word in (
        ("PWRON_RESET", "power-on"),
        ("WDT_RESET", "watchdog"),
        ("SOFT_RESET", "soft"),
        ("HARD_RESET", "hard"),
    ):
        if hasattr(Machine, name):
            machine.cause = getattr(Machine, name)
            equal(board.reset_cause(), word, name)
    machine.cause = 99
    equal(board.reset_cause(), "unknown", "a cause that it does not know")
    if PORT == "rp2":
        machine.cause = Machine.WDT_RESET
        machine.mem32 = {0x4005801C: 0, 0x400D801C: 0}
        equal(board.reset_cause(), "hard", "machine.reset() on this port")


def check_rom():
    board = Board()
    if LAYOUT == "stock" or PORT == "mimxrt" or NETWORK == "lan":
        equal((board.rom_size(), board.slots), (0, "file"), "no ROM segment")
        return
    size = STORAGE - FILES if PORT == "rp2" else 65536
    equal((board.rom_size(), board.slots, board.BLOCK), (size, "rom", 4096), "ROM segment")
    board.rom_erase(4096, 8192)
    board.rom_write(4096 + 250, b"0123456789")  # over the end of a page
    board.rom_write(4096 + 260, memoryview(b"abc"))
    equal(bytes(board.rom()[4096 + 249 : 4096 + 264]), b"\xff0123456789abc\xff", "what was written")
    board.rom_write(4096 + 250, b"\xf0")
    equal(board.rom()[4096 + 250], 0x30, "a write can only clear bits")
    board.rom_erase(4096, 4096)
    equal(bytes(board.rom()[4096:8192]), b"\xff" * 4096, "what was erased")
    for offset, length in ((1, 4096), (0, 1), (size, 4096)):
        try:
            board.rom_erase(offset, length)
        except OSError:
            continue
        raise AssertionError("erased %d %d" % (offset, length))


def check_network():
    if NETWORK == "none":
        board = Board()
        board.network_up()
        equal((board.link(), board.addresses(), CALLS[-1:]), (False, {}, []), "no network")
        return
    wireless = NETWORK in ("wlan", "both")
    if NETWORK == "both":
        write_settings(None)
        board = Board()
        board.network_up()
        equal(CALLS[-1], ("active", True), "Ethernet where the settings name no wireless LAN")
        equal(board.link(), True, "link")
    write_settings({"ssid": "cabinet", "password": "a secret", "country": "AT"} if wireless else None)
    del CALLS[:]
    board = Board()
    equal(board.link(), False, "link before") if NETWORK != "wlan" else None
    board.network_up()
    equal(board.link(), True, "link")
    if wireless:
        wanted = [("interface", 0), ("country", "AT"), ("active", True), ("connect", "cabinet", "a secret")]
    else:
        wanted = [("interface",), ("active", True)]
    equal(CALLS, wanted, "what was asked of the network")
    board.network_up()
    equal([call for call in CALLS if call[0] == "connect"], [call for call in wanted if call[0] == "connect"], "once")
    equal(board.addresses()["address"], "10.0.0.2", "addresses")
    if wireless:
        for wrong in ({"ssid": 5}, {"password": "a secret"}, {"ssid": "x" * 33}):
            write_settings(wrong)
            board = Board()
            del CALLS[:]
            board.network_up()
            equal([call for call in CALLS if call[0] == "connect"], [], "settings %r" % wrong)
        with open(Board.folder + "/network.json", "w") as file:
            file.write("{")
        Board()


for check in (check_parts, check_causes, check_rom, check_network):
    check()
print("all held")
