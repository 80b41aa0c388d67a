"""What an application imports from `gate`; docs/reference/gate.md of Tidegate."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, Final, Generic, TypeVar, overload, type_check_only

_T = TypeVar("_T")
_Answer = Mapping[str, Any] | None
_Run = Callable[Concatenate[Call, ...], _Answer | Awaitable[_Answer]]
_Command = TypeVar("_Command", bound=_Run)
_Source = TypeVar("_Source", bound=Callable[[], float | None])
_Check = TypeVar("_Check", bound=Callable[[], bool])
_Taker = TypeVar("_Taker", bound=Callable[[str], bool | None])
_Curve = Sequence[tuple[int, float]]
# (type, least, most[, default]), or (bool[, default])
_Argument = tuple[type, *tuple[Any, ...]]

PROTOCOL: Final[int]
READ: Final = 1
OPERATE: Final = 2
DANGEROUS: Final = 3
MEAN: Final = 1
MIN: Final = 2
MAX: Final = 4
DEV: Final = 8
RATE: Final = 16
OVER: Final = 32

class LinkError(Exception): ...
class ConfigError(Exception): ...

class Uptime:
    def seconds(self) -> int: ...

class Frame:
    data: bytearray
    damaged: int
    repeated: int
    missed: int
    def __init__(self, identifier: int, size: int, read: Callable[[bytearray], bool]) -> None: ...
    def receive(self) -> bool | None: ...

class Measure:
    name: str
    unit: str | bytes | None
    def __init__(
        self,
        name: str,
        unit: str | bytes | None,
        read: Callable[[], float | None] | tuple[int, int, bool],
        scale: int = 1,
        low: float | None = None,
        high: float | None = None,
        tell: int | None = None,
        over: float | None = None,
        curve: _Curve | None = None,
    ) -> None: ...

class Stream:
    name: str
    measures: tuple[Measure, ...]
    failures: int
    rejected: int
    def __init__(
        self,
        name: str,
        *measures: Measure,
        period_s: float | None = None,
        period_ms: float | None = None,
        window: int = 1,
        frame: Frame | None = None,
    ) -> None: ...

@type_check_only
class Setting(Generic[_T]):
    name: str
    value: _T
    def __call__(self, function: Callable[[_T], object]) -> Setting[_T]: ...

class Call:
    """The first argument of a command's function."""

    agent: Agent
    opcode: str
    sent: int
    def __init__(
        self, agent: Agent, cti: bytes, opcode: str, limit_s: int, beat: Callable[[], object]
    ) -> None: ...
    def write(self, text: str) -> None: ...
    def check(self) -> None: ...
    async def pause(self) -> None: ...
    def after(self, function: Callable[[], object]) -> None: ...

class Agent:
    boot: Any
    def __init__(
        self,
        boot: Any,
        streams: Sequence[Stream] = (),
        health: Callable[[], bool] = ...,
        data: Mapping[str, Callable[[str], bool | None]] | None = None,
        ready: Callable[[], bool] | None = None,
        settings: Sequence[Setting[Any]] = (),
    ) -> None: ...
    def run(self) -> None: ...
    def now(self) -> int | None: ...
    def reboot(self) -> None: ...

def measurement(
    name: str,
    unit: str | bytes | None = None,
    scale: int = 1,
    low: float | None = None,
    high: float | None = None,
    stream: Stream | str = "app",
    *,
    tell: int | None = None,
    over: float | None = None,
    curve: _Curve | None = None,
) -> Callable[[_Source], _Source]: ...
def command(
    name: str, role: int = 2, *, limit_s: int = 10, heavy: bool = False, **more: _Argument
) -> Callable[[_Command], _Command]: ...
def opcode(
    name: str, role: int, limit_s: int = 10, heavy: bool = False, **arguments: _Argument
) -> Callable[[_Command], _Command]: ...
@overload
def setting(name: str, kind: type[bool], default: bool) -> Setting[bool]: ...
@overload
def setting(name: str, kind: type[int], least: int, most: int, default: int) -> Setting[int]: ...
@overload
def setting(
    name: str, kind: type[float], least: float, most: float, default: float
) -> Setting[float]: ...
@overload
def setting(name: str, kind: type[str], least: int, most: int, default: str) -> Setting[str]: ...
def data_component(name: str) -> Callable[[_Taker], _Taker]: ...
def health(function: _Check) -> _Check: ...
def ready(function: _Check) -> _Check: ...
def start(boot: Any) -> None: ...
def calibrator(streams: Sequence[Stream]) -> Callable[[str], None]: ...
