class HttpError(Exception):
    status: int
    retry_after: int | None
    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None: ...
