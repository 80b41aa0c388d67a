"""A simulated board: flash that tears at the n-th operation, power cuts, resets, a watchdog that counts.

The real loader and the real agent code run on it. Its ROM segment is NOR flash in a bytearray: an erase sets whole
blocks to 0xff, a write can only clear bits, and a write to a place that was written since its last erase is an error
of the caller. `cut_at(n)` ends the n-th operation from now half-way, by raising PowerCut; files count as well when
they are on `Files`. After a cut or a reset the test boots the same board again.
"""

BLOCK = 4096


class PowerCut(BaseException):
    """The power is gone, in the middle of an operation."""


class Reset(BaseException):
    """The software asked for a reset, or the watchdog did."""


class Stopped(BaseException):
    """The test has seen what it wanted; nothing of the board was cut."""


class FlashError(Exception):
    """The software used the flash in a way that real flash does not allow."""


class SimBoard:
    """A board with `blocks` blocks of ROM segment. operations: flash and file operations so far."""

    name = "simulated"
    arch = "none"
    BLOCK = BLOCK

    def __init__(self, folder, blocks=10):
        self.folder = folder
        self._rom = bytearray(b"\xff" * (blocks * BLOCK))
        self._worn = bytearray(blocks)  # erases a block, up to 255
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
        """Runs run(board) until it returns or the board goes down. Returns "ended", "reset" or "cut"."""
        self.down = None
        try:
            run(self)
        except PowerCut:
            self._cause = "power-on"
            return "cut"
        except Reset as reset:
            self._cause = str(reset)
            return "reset"
        except Stopped:
            self._cause = "power-on"
            return "stopped"
        return "ended"

    def stop(self):
        self._go_down(Stopped())

    def hang(self):
        """What a hanging program ends in: the watchdog."""
        self._go_down(Reset("watchdog"))

    def snapshot(self):
        """The flash as it is; give it to restore()."""
        return bytes(self._rom)

    def restore(self, snapshot):
        self._rom[:] = snapshot
        self._cause = "power-on"
        self._cut = None

    def damage(self, offset):
        """Flips one bit, as age does."""
        self._rom[offset] ^= 0x10

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
            self._worn[start // BLOCK] = min(255, self._worn[start // BLOCK] + 1)

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
