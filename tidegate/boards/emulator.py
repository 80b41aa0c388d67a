"""The emulated board: QEMU running the firmware of `boards/qemu_mps2`, with storage in a file.

The storage file is the board's flash: it survives resets of the board and `kill -9` of the emulator. The console is a
pseudo-terminal that mpremote uses like a board's serial port. The board reaches this machine at 10.0.2.2.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tidegate import interrupts, library
from tidegate.boards.board import load
from tidegate.boards.qemu_monitor import Monitor
from tidegate.boards.schema import CPUS
from tidegate.errors import TidegateError

BOARD = "qemu_mps2"
CPU_VARIABLE = "TIDEGATE_CPU"
DEFAULT_MAC = "02:00:00:74:69:01"

STOP_TIMEOUT_S = 5.0
ERASED = b"\xff"
HUNDREDTHS = 0x4002_8014  # the machine's FPGAIO block counts hundredths of a second there (CLK100HZ)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_MAC = re.compile(r"([0-9a-f]{2}):([0-9a-f]{2}(:[0-9a-f]{2}){4})\Z")
_PTY = re.compile(r"char device redirected to (\S+)")
_FORWARD = re.compile(r"(tcp|udp):[0-9.]*:\d{1,5}-[0-9.]*:\d{1,5}\Z")


class Emulator:
    """One emulated board. Use as a context manager, or call start() and stop().

    The board's time is its own: while it works, each instruction takes 2 ns of it, about what QEMU makes of a core that
    it has for itself; while it waits, time passes as on the host. On a busy host it works more slowly, and its watchdog
    and deadlines do not expire because QEMU got no turn.

    storage: the flash file, made when absent. mac: the board's address and unique id; give each board its own.
    cpu: one of CPUS; by default what TIDEGATE_CPU names, else "m3".
    hostfwd: QEMU forwards such as "udp:127.0.0.1:5683-:5683", for servers on the board.
    firmware: another ELF. count_instructions: each instruction takes 32 ns of the board's time, whatever the host does
    (and waiting takes no time of the host): for measuring, not for talking to the host; without the host's entropy.
    real_speed: no faster than a real part, 31 million instructions a second: so that timing is as in the field.
    console_log: a file that everything the board prints is appended to, from before a terminal connects, too.

    The emulator dies with the thread that started it. Methods raise TidegateError if they fail.
    """

    def __init__(
        self,
        storage: Path | str,
        *,
        mac: str = DEFAULT_MAC,
        cpu: str = "",
        hostfwd: Iterable[str] = (),
        firmware: Path | str | None = None,
        count_instructions: bool = False,
        real_speed: bool = False,
        console_log: Path | None = None,
    ) -> None:
        self.settings = _settings(cpu or os.environ.get(CPU_VARIABLE, "m3"))
        self.storage = Path(storage)
        self.mac = _checked_mac(mac)
        self.hostfwd = [_checked_forward(forward) for forward in hostfwd]
        self.firmware = Path(firmware) if firmware else library.folder() / self.settings["firmware"]
        self.count_instructions = count_instructions
        self.real_speed = real_speed
        self.console_log = console_log
        self.pty = ""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._messages: deque[str] = deque(maxlen=50)
        self._console: int | None = None
        self._monitor: Monitor | None = None
        self._printed = threading.Event()  # QEMU has named the pseudo-terminal, or has ended

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self, control: int) -> list[str]:
        """The command line of QEMU; `control` is the file descriptor of its control socket."""
        size = self.settings["storage_size"]
        nic = ["user", "model=lan9118", f"mac={self.mac}", *(f"hostfwd={forward}" for forward in self.hostfwd)]
        memory = f"memory-backend-file,id=psram,mem-path={_quoted(self.storage)},size={size},share=on"
        command = [self.settings["program"], "-M", f"{self.settings['machine']},memory-backend=psram"]
        command += ["-object", memory, "-kernel", str(self.firmware), "-nic", ",".join(nic)]
        log = f",logfile={_quoted(self.console_log)},logappend=on" if self.console_log else ""
        command += ["-chardev", f"pty,id=console{log}", "-serial", "chardev:console"]
        # The board's entropy source: its second UART brings bytes of this machine's own generator. When they
        # arrive depends on the host, so there are none where every run must execute the same instructions.
        entropy = "null,id=entropy" if self.count_instructions else "pipe,id=entropy,path=/dev/urandom"
        command += ["-chardev", entropy, "-serial", "chardev:entropy"]
        command += ["-chardev", f"socket,id=control,fd={control}", "-mon", "chardev=control,mode=control"]
        command += ["-display", "none", "-monitor", "none"]
        speed = "shift=1,align=off,sleep=on"
        if self.count_instructions:
            speed = "shift=5,align=off,sleep=off"
        elif self.real_speed:
            speed = "shift=5,align=on,sleep=on"
        return [*command, "-icount", speed]

    def start(self) -> None:
        """Powers the board on and waits until its console exists."""
        if self.alive:
            raise TidegateError("the emulator runs already", "Stop it first")
        if not shutil.which(self.settings["program"]):
            raise TidegateError(
                f"{self.settings['program']} is not installed", "Debian and Ubuntu: apt install qemu-system-arm"
            )
        if not self.firmware.is_file():
            raise TidegateError(f"there is no firmware {self.firmware}", f"Build it: {self.settings['build']}")
        create_storage(self.storage, self.settings)
        self._messages.clear()
        self._printed.clear()
        with self.storage.open("rb") as lock:
            self._lock(lock.fileno())
            ours, theirs = socket.socketpair()
            with theirs, interrupts.held():
                self._process = subprocess.Popen(
                    self.command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    pass_fds=[lock.fileno(), theirs.fileno()],  # the lock is held as long as QEMU lives
                    preexec_fn=_die_with_parent(),
                )
        self._reader = threading.Thread(target=self._read_output, args=[self._process], daemon=True)
        self._reader.start()
        self._monitor = Monitor(ours)
        complete = self._monitor.is_ready()
        self._printed.wait(STOP_TIMEOUT_S)
        if not complete or not self.pty:
            self.kill()
            raise TidegateError(
                f"QEMU did not start: {self.output() or 'without a message'}", "Correct what its message names"
            )

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TidegateError(
                f"{self.storage} is the flash of a board that runs", "Stop that board, or name another file"
            ) from None

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found = _PTY.search(line)
            if found:
                with contextlib.suppress(OSError):  # QEMU has ended again and the terminal with it
                    self._hold_console(found.group(1))
                self._printed.set()
            else:
                self._messages.append(line.strip())
        process.stdout.close()
        self._printed.set()

    def _hold_console(self, pty: str) -> None:
        """Keep the pseudo-terminal open, from before QEMU first looks at it.

        QEMU looks only once a second whether somebody opened it, and throws output away meanwhile. Held open,
        connecting is immediate and the last 4 KiB of earlier output are still there.
        """
        self._console = os.open(pty, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self.pty = pty

    def output(self) -> str:
        """The last messages of QEMU itself, usually none."""
        return "; ".join(self._messages)

    def uptime_s(self) -> float:
        """Seconds of the board's own time since its last reset, in hundredths: what its clocks and deadlines go by."""
        if self._monitor is None:
            raise TidegateError("the emulator does not run", "Start it first")
        return self._monitor.word(HUNDREDTHS) / 100

    def erases(self) -> list[int]:
        """How often each sector of the flash was erased since it was made, up to where the board counts them."""
        start = self.settings["wear_offset"]
        with self.storage.open("rb") as file:
            file.seek(start)
            counts = file.read(start // self.settings["sector"] * 4)
        return [(count + 1) & 0xFFFFFFFF for (count,) in struct.iter_unpack("<I", counts)]

    def kill(self) -> None:
        """Cuts the power: SIGKILL, at whatever the board is doing. start() powers it on again."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends the emulator in order. For the board there is no difference to kill()."""
        self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Waits until QEMU ends by itself and returns its exit code."""
        return self._process.wait() if self._process else 0

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader:
            self._reader.join()
        if self._console is not None:
            os.close(self._console)
            self._console = None
        if self._monitor:
            self._monitor.close()
        self._process = self._monitor = self._reader = None
        self.pty = ""


def create_storage(path: Path, settings: dict[str, Any] | None = None) -> None:
    """Make the flash file of a new board unless it exists: erased, but for the seed of os.urandom.

    If its entropy source ever delivers nothing, the board still has this seed, which it replaces at each boot.
    """
    settings = settings or _settings("m3")
    size = settings["storage_size"]
    if path.exists():
        if path.stat().st_size != size:
            raise TidegateError(
                f"{path} has {path.stat().st_size} bytes, a board's flash has {size}", "Name another file or remove it"
            )
        return
    record = bytes(4) + secrets.token_bytes(32)  # counter 0, seed
    record += hashlib.sha256(b"check" + record).digest()[:4]
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            before = settings["seed_offset"]
            file.write(ERASED * before + record + ERASED * (size - before - len(record)))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _settings(cpu: str) -> dict[str, Any]:
    common: dict[str, Any] = load(library.folder(), BOARD).settings["emulator"]
    if cpu not in CPUS:
        raise TidegateError(f"the emulator has no CPU {cpu!r}", f"Use {', '.join(CPUS)}")
    return {**common, **common[cpu]}


def _checked_mac(mac: str) -> str:
    found = _MAC.match(mac.lower())
    if not found or int(found.group(1), 16) & 1:
        raise TidegateError(f"{mac!r} is not the MAC address of a device", "Use one such as 02:00:00:00:00:01")
    return mac.lower()


def _checked_forward(forward: str) -> str:
    if not _FORWARD.match(forward):
        raise TidegateError(f"{forward!r} is not a port forward", "Use one such as udp:127.0.0.1:5683-:5683")
    return forward


def _quoted(path: Path) -> str:
    """A path as a value in one of QEMU's option lists, where a comma is written twice."""
    return str(path).replace(",", ",,")


def _die_with_parent() -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl  # looked up here, because the child must not load libraries
    parent = os.getpid()

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return before_exec
