"""SenML packs in CBOR; docs/senml.md of Tidegate."""

MAX_RECORDS: int

class SenmlError(ValueError): ...

class Pack:
    base_time: float | None
    buf: bytearray
    count: int
    def __init__(
        self, base_name: str, base_time: float | None = None, buf: bytearray | None = None
    ) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self,
        name: str | bytes,
        value: float | bool | str | bytes,
        unit: str | bytes | None = None,
        time: float | None = None,
        divisor: int | None = None,
        more: bytes = b"",
    ) -> None: ...
    def encode(self) -> bytes: ...
