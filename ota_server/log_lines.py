"""The log is the server's own: what others sent is escaped in one place, so that nobody else begins a line in it."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What is being done when something is logged: the request's id, and the device that it is about.
REQUEST: ContextVar[str] = ContextVar("request", default="")
DEVICE: ContextVar[str] = ContextVar("device", default="")
LOG_EVERY_S = 10  # the same trouble again and again is one line in this time
MAX_LINE = 4000  # characters of a message, and of each line of a traceback
# Control characters of C0 and C1, what ends a line or turns it round in Unicode, and halves of surrogate pairs.
_FOREIGN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def escaped(text: str) -> str:
    r"""The text in one line without control characters: a line's end becomes \n, an escape \x1b."""
    clean = _FOREIGN.sub(lambda found: repr(found[0])[1:-1] if ord(found[0]) != 0x2028 else "\\u2028", text)
    return clean if len(clean) <= MAX_LINE else f"{clean[:MAX_LINE]}... ({len(clean)} characters)"


class Formatter(logging.Formatter):
    """One record is one line. A traceback's lines follow, indented, so none of them looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


class JsonFormatter(logging.Formatter):
    """One record is one line of JSON in ASCII: time, level, logger, message; where known request, device; a traceback.

    `extra={"facts": {...}}` of a record adds members of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        members: dict[str, object] = {
            "time": f"{at}.{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": escaped(record.getMessage()),
            "request": REQUEST.get(),
            "device": DEVICE.get(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            text = logging.Formatter.formatException(self, record.exc_info)
            members["traceback"] = [escaped(line) for line in text.split("\n")]
        return json.dumps({name: value for name, value in members.items() if value not in ("", None)}, default=str)


def _indented(text: str) -> str:
    return "\n".join("    " + escaped(line) for line in text.split("\n"))


class Seldom:
    """Calling it says whether the same trouble, which comes again and again, may be logged now."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + LOG_EVERY_S
        return True


def set_up(level: int, as_json: bool = False) -> None:
    """Log to standard error; every handler that the root logger has escapes what it writes."""
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter() if as_json else Formatter(FORMAT))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request that waits for a thread
