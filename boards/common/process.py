"""Runs another program without a shell, on boards that are Linux machines: in its own process
group, inheriting only a pipe for its output, with limits on CPU time, memory and files.

MicroPython has no module for it, and os.system is a shell. So this uses fork and execve of the C
library. The child runs a few lines of Python between the two, which is safe because this program
has one thread.
"""

import os
import time
from array import array

import ffi
import uctypes
from micropython import const

_O_RDWR = const(2)
_O_NONBLOCK = const(0o4000)
_O_CLOEXEC = const(0o2000000)
_F_SETFL = const(4)
_X_OK = const(1)
_SIGKILL = const(9)
_WNOHANG = const(1)
_EAGAIN = const(11)
_EINTR = const(4)
_PR_SET_PDEATHSIG = const(1)
_PR_SET_NO_NEW_PRIVS = const(38)
_FILES = const(1024)  # descriptors that may be open in us
_NOT_STARTED = const(127)
_KILL_ROUNDS = const(50)
_KILL_MS = const(10)

# resource.h: CPU seconds, size of files, core, open files, address space
_RLIMIT_CPU = const(0)
_RLIMIT_FSIZE = const(1)
_RLIMIT_CORE = const(4)
_RLIMIT_NOFILE = const(7)
_RLIMIT_AS = const(9)

_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/", "TERM=dumb")

_libc = ffi.open(None)
_access = _libc.func("i", "access", "si")
_chdir = _libc.func("i", "chdir", "s")
_close = _libc.func("i", "close", "i")
_dup2 = _libc.func("i", "dup2", "ii")
_execve = _libc.func("i", "execve", "sPP")
_exit = _libc.func("v", "_exit", "i")
_fcntl = _libc.func("i", "fcntl", "iii")
_fork = _libc.func("i", "fork", "")
_kill = _libc.func("i", "kill", "ii")
_open = _libc.func("i", "open", "sii")
_pipe2 = _libc.func("i", "pipe2", "Pi")
_prctl = _libc.func("i", "prctl", "illll")
_read = _libc.func("l", "read", "iPl")
_setpgid = _libc.func("i", "setpgid", "ii")
_setrlimit = _libc.func("i", "setrlimit", "iP")
_umask = _libc.func("i", "umask", "i")
_waitpid = _libc.func("i", "waitpid", "iPi")


def find(name):
    """The program's path, in the folders of the system; OSError if it is not installed."""
    if name.strip(".") and "/" not in name:
        for folder in _FOLDERS:
            path = folder + "/" + name
            if _access(path, _X_OK) == 0:
                return path
    raise OSError(2, "%s is not installed on this machine" % name)


class Process:
    """code: how it ended, once read() returned b"": the exit code, or minus the signal."""

    def __init__(self, name, arguments, cpu_s, memory):
        """name: of a program of the system; arguments: a list of str; cpu_s: seconds of CPU;
        memory: bytes of address space.
        """
        path = find(name)
        (argv, first), (envp, second) = _words([name] + list(arguments)), _words(_ENVIRONMENT)
        ends = array("i", (0, 0))
        if _pipe2(ends, _O_CLOEXEC) != 0:
            raise OSError(os.errno())
        self.code = None
        self._pid = _fork()
        if self._pid == 0:
            _become(path, argv, envp, ends[1], cpu_s, memory)
        _close(ends[1])
        self._file = ends[0]
        if self._pid < 0:
            _close(self._file)
            raise OSError(os.errno())
        _fcntl(self._file, _F_SETFL, _O_NONBLOCK)
        self._buffer = bytearray(1024)
        self._kept = first, second

    def read(self):
        """What it has said since, up to 1 KiB; None: nothing yet; b"": it has ended."""
        size = _read(self._file, self._buffer, len(self._buffer))
        if size > 0:
            return bytes(memoryview(self._buffer)[:size])
        if size < 0 and os.errno() in (_EAGAIN, _EINTR):
            return None
        return b"" if self._end(_WNOHANG) else None

    def kill(self):
        """Ends it and all it started; harmless when it has ended."""
        if self.code is None:
            _kill(-self._pid, _SIGKILL)
            _kill(self._pid, _SIGKILL)
            for _ in range(_KILL_ROUNDS):
                if self._end(_WNOHANG):
                    return
                time.sleep_ms(_KILL_MS)
            # It hangs in the kernel, on a dead disk for instance: do not wait for it.
            _close(self._file)
            self.code = -_SIGKILL

    def _end(self, flags):
        """Whether it has ended."""
        status = array("i", (0,))
        if self.code is None and _waitpid(self._pid, status, flags) == self._pid:
            _close(self._file)
            self.code = -(status[0] & 127) if status[0] & 127 else status[0] >> 8 & 255
        return self.code is not None


def _words(texts):
    """(a NULL-terminated array of C strings, the strings, which must outlive it)."""
    strings = [text.encode() + b"\0" for text in texts]
    return array("L", [uctypes.addressof(text) for text in strings] + [0]), strings


def _become(path, argv, envp, out, cpu_s, memory):
    """In the child: drops all that is the parent's and becomes the program; never returns."""
    try:
        _setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _dup2(_open("/dev/null", _O_RDWR, 0), 0)
        _dup2(out, 1)
        _dup2(out, 2)
        for file in range(3, _FILES):
            _close(file)
        _chdir("/")
        _umask(0o77)
        good = True
        for kind, limit in (
            (_RLIMIT_CPU, cpu_s),
            (_RLIMIT_FSIZE, 0),
            (_RLIMIT_CORE, 0),
            (_RLIMIT_NOFILE, 64),
            (_RLIMIT_AS, memory),
        ):
            good = good and _setrlimit(kind, array("L", (limit, limit))) == 0
        if good:
            _execve(path, argv, envp)
    finally:
        _exit(_NOT_STARTED)
