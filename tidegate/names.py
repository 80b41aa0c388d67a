"""The names in Tidegate: what a product, a board, a device or a channel may be called, each stated once.

Builds, files, the command line, the server and the wire formats all ask here, so that what one of them accepts no other
refuses. docs/wire.cddl says the same of the names that travel; a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeGuard

from tidegate.errors import TidegateError


@dataclass(frozen=True)
class Name:
    """One kind of name. `what` and `rule` are for people: "product", "1 to 64 of a-z, 0-9, ...".

    `pattern` is a regular expression of a whole name, without groups, that larger patterns may contain; `most` is the
    number of characters a name may have.
    """

    what: str
    pattern: str
    most: int
    rule: str

    def fits(self, value: object) -> TypeGuard[str]:
        """Whether `value` is a text that may be such a name."""
        return isinstance(value, str) and len(value) <= self.most and re.fullmatch(self.pattern, value) is not None

    def check(self, value: object, remedy: str = "") -> str:
        """`value` if it may be such a name, else TidegateError; `remedy` in place of the rule."""
        if not self.fits(value):
            raise TidegateError(self.refusal(value), remedy or self.remedy)
        return value

    def refusal(self, value: object) -> str:
        """The sentence that refuses `value`."""
        return f"{value!r:.80} is not a valid {self.what}"

    @property
    def remedy(self) -> str:
        return f"Use {self.rule}"


PRODUCT = Name(
    "product name",
    r"[a-z0-9][a-z0-9._-]{0,63}",
    64,
    "1 to 64 of a-z, 0-9, ., _ and -, a letter or digit first",
)
VENDOR = Name("vendor", r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", 64, "a domain name of at most 64 characters, like example.com")
BOARD = Name("board name", r"[a-z][a-z0-9_]{0,31}", 32, "the name of a folder in boards/: 1 to 32 of a-z, 0-9 and _")
VERSION = Name(
    "version",
    r"[0-9A-Za-z][0-9A-Za-z.+-]{0,31}",
    32,
    "1 to 32 of letters, digits, ., + and -, a letter or digit first, like 1.4.0",
)
CHANNEL = Name("channel name", r"[a-z0-9][a-z0-9_-]{0,31}", 32, "1 to 32 of a-z, 0-9, - and _, a letter or digit first")
GROUP = Name("group name", CHANNEL.pattern, CHANNEL.most, CHANNEL.rule)
DEVICE_ID = Name("device id", r"[a-z0-9-]{1,32}", 32, "1 to 32 of a-z, 0-9 and -")
DEVICE_NAME = Name(
    "device name",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}",
    32,
    "1 to 32 of letters, digits, ., _ and -, a letter or digit first",
)
DEVICE = Name("device id or name", f"(?:{DEVICE_ID.pattern}|{DEVICE_NAME.pattern})", 32, DEVICE_NAME.rule)
COMPONENT = Name(
    "name of a data component", r"[a-z][a-z0-9_-]{0,23}", 24, "1 to 24 of a-z, 0-9, _ and -, a letter first"
)
STREAM = Name("stream name", r"[A-Za-z0-9._-]{1,32}", 32, "1 to 32 of letters, digits, ., _ and -")
OPCODE = Name("opcode", r"[a-z][a-z0-9._-]{0,31}", 32, "1 to 32 of a-z, 0-9, ., _ and -, a letter first")
HOST = Name(
    "host",
    r"(?:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)",
    128,
    "at most 128 characters: a name of letters, digits, -, _ and ., or an IPv4 or IPv6 address",
)
DIGEST = Name("SHA-256 in hex", r"[0-9a-f]{64}", 64, "64 of 0-9 and a-f")

DEFAULT_PRODUCT = "tidegate-gateway"  # what builds and commands mean where nobody says otherwise
DEFAULT_VENDOR = "tidegate.example"
