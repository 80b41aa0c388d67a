"""A simulated board: flash that tears at the n-th operation, power cuts, resets, a watchdog that counts.

The real loader and the real agent code run on it. Its ROM segment is NOR flash in a bytearray: an erase sets whole
blocks to 0xff, a write can only clear bits, and a write to a place that was written since its last erase is an error
of the caller. `cut_at(n)` ends the n-th operation from now half-way, by raising PowerCut; files count as well when
they are on `Files`. After a cut or a reset the test boots the same board again.
"""

import sys
import time

BLOCK = 4096


class PowerCut(BaseException):
    """The power is gone, in the middle of an operation."""


class Reset(BaseException):
    """The software asked for a reset, or the watchdog did."""


class Stopped(BaseException):
    """The test has seen what it wanted; nothing of the board was cut."""


_ENDS = {PowerCut: "cut", Reset: "reset", Stopped: "stopped"}


class PassingTime:
    """What the loader has for `time`: its pause after a crash, feeding the watchdog, is over at once."""

    @staticmethod
    def sleep(seconds):
        pass


class FlashError(Exception):
    """The software used the flash in a way that real flash does not allow."""


class SimBoard:
    """A board with `blocks` blocks of ROM segment. operations: flash and file operations so far."""

    name = "simulated"
    arch = "none"
    BLOCK = BLOCK
    LOADER_SIZE = 0

    def __init__(self, folder, blocks=10, slots="rom"):
        """slots: "rom" or "file", what boot.slots keeps images in; files then tear when they are on `Files`."""
        self.folder = folder
        self.slots = slots
        self.files = None  # the Files that lose with the power what was not made durable
        self._rom = bytearray(b"\xff" * (blocks * BLOCK))
        self.worn = [0] * blocks  # erases a block
        self._cause = "power-on"
        self._cut = None
        self.down = None  # what ended this boot; until the next one nothing works any more
        self._seed = 1
        self.operations = 0
        self.log = None  # set it to a list to have the name of each operation appended
        self.feeds = 0

    # ------------------------------------------------------------ what the test does

    def cut_at(self, operation):
        """The operation with this number from now on (the next one is 1) is cut half-way; None: no cut."""
        self._cut = None if operation is None else self.operations + operation

    def boot(self, run):
        """Runs run(board) until it returns or the board goes down. Returns "ended", "reset", "cut" or "stopped"."""
        self.down = None
        if self.files:
            self.files.power_on()
        loader = sys.modules.get("boot.loader")
        if loader is not None and loader.time is time:
            loader.time = PassingTime
        try:
            run(self)
        except (PowerCut, Reset, Stopped):
            pass
        except Exception:
            # A file that is closed on the exception's way out finds its file system dead, and may say so instead.
            if not self.down:
                raise
        if self.files:
            self.files.power_on()  # the test looks at what a new boot would find
        if not self.down:
            return "ended"
        self._cause = str(self.down) if isinstance(self.down, Reset) else "power-on"
        return _ENDS[type(self.down)]

    def stop(self):
        self._go_down(Stopped())

    def hang(self):
        """What a hanging program ends in: the watchdog."""
        self._go_down(Reset("watchdog"))

    def snapshot(self):
        """Flash and files as they are; give it to restore()."""
        return bytes(self._rom), self.files.snapshot() if self.files else None

    def restore(self, snapshot):
        self._rom[:] = snapshot[0]
        if self.files:
            self.files.restore(snapshot[1])
        self._cause = "power-on"
        self._cut = None

    def damage_slot(self, index, offset, bits=0x10):
        """Flips bits of one byte of a slot, as age does."""
        if self.slots == "rom":
            capacity = (len(self._rom) - 2 * BLOCK) // 2 // BLOCK * BLOCK
            self._rom[2 * BLOCK + index * capacity + offset] ^= bits
        else:
            self._flip(("a.img", "b.img")[index], offset, bits)

    def damage_record(self, copy, offset, bits=0x10):
        """Flips bits of one byte of a copy of the boot record."""
        if self.slots == "rom":
            self._rom[copy * BLOCK + offset] ^= bits
        else:
            self._flip("record.%d" % copy, offset, bits)

    def _flip(self, name, offset, bits):
        down, self.down = self.down, None  # age works without power
        with open(self.folder + "/slots/" + name, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ bits]))
        self.down = down

    def operation(self, name):
        """Counts one operation; returns whether the power is cut in it (then call power_off half-way)."""
        if self.down:
            # Other tasks may still run a step while the exception is on its way out of asyncio.
            raise self.down
        self.operations += 1
        if self.log is not None:
            self.log.append(name)
        if self.operations == self._cut:
            self._cut = None
            return True
        return False

    def power_off(self):
        if self.files:
            self.files.lose()
        self._go_down(PowerCut())

    def _go_down(self, why):
        if not self.down:
            self.down = why
        raise self.down

    def below(self, limit):
        """A number below limit, the same in every run, for where a cut falls inside an operation."""
        self._seed = self._seed * 48271 % 2147483647
        return self._seed % limit

    # ------------------------------------------------------------ what the board's code sees

    held = None  # digest of the modules that its MicroPython holds

    def frozen(self):
        return self.held

    def unique_id(self):
        return b"\x02sim\x00\x01"

    def reset(self):
        self._go_down(Reset("hard"))

    def reset_cause(self):
        return self._cause

    def watchdog(self, timeout_ms):
        return self

    def feed(self):
        self.feeds += 1

    def network_up(self):
        pass

    def link(self):
        return True

    def random(self, count):
        return bytes(self.below(256) for _ in range(count))

    def sync(self, folder):
        if self.down:
            raise self.down
        if self.files:
            if self.operation("sync"):
                self.power_off()
            self.files.sync(folder)

    def rom_size(self):
        return len(self._rom)

    def rom(self):
        return memoryview(self._rom)

    def rom_erase(self, offset, length):
        if offset % BLOCK or length % BLOCK or offset + length > len(self._rom):
            raise FlashError("erase of %d+%d" % (offset, length))
        for start in range(offset, offset + length, BLOCK):
            if self.operation("erase %d" % start):
                done = self.below(BLOCK + 1)  # the rest still has its old bytes
                self._rom[start : start + done] = b"\xff" * done
                self.power_off()
            self._rom[start : start + BLOCK] = b"\xff" * BLOCK
            self.worn[start // BLOCK] += 1

    def rom_write(self, offset, data):
        if offset + len(data) > len(self._rom):
            raise FlashError("write of %d+%d" % (offset, len(data)))
        for at in range(len(data)):
            if self._rom[offset + at] != 0xFF:
                raise FlashError("write at %d, which is not erased" % (offset + at))
        if self.operation("write %d+%d" % (offset, len(data))):
            done = self.below(len(data) + 1)
            self._rom[offset : offset + done] = data[:done]
            if done < len(data):
                # The byte in the middle has some of its bits.
                self._rom[offset + done] &= data[done] | self.below(256)
            self.power_off()
        self._rom[offset : offset + len(data)] = data
