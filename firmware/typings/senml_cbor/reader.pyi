from typing import NamedTuple

class Record(NamedTuple):
    name: str
    value: float | str | bool | bytes | None
    unit: str | None
    time: float
    sum: float | None
    update_time: float | None

def decode(buf: bytes | bytearray | memoryview, max_size: int = 4096) -> list[Record]: ...
