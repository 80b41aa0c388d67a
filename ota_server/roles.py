"""The parts of a server that may run in processes of their own, and how several processes share one part.

Together in one process they are `tidegate serve`. Apart, they meet only in the database, which is PostgreSQL then, and
at the broker: any of them may end at any moment, and any may be there twice (docs/server.md).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tidegate.errors import TidegateError

WEB = "web"  # the API, the page, payloads
INGEST = "ingest"  # files what devices publish
DOWNLINK = "downlink"  # sends offers, commands and webhooks; keeps house, and the broker's users
COAP = "coap"  # the same two for devices that speak CoAP
ALL = (WEB, INGEST, DOWNLINK, COAP)
MAX_SHARES = 64

_SHARE = re.compile(r"([1-9][0-9]?)/([1-9][0-9]?)", re.ASCII)


def parse(text: str) -> frozenset[str]:
    """From "web,ingest". An unknown name is a TidegateError."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ALL:
            raise TidegateError(f"{name!r} is not a role of a server", f"Roles are {', '.join(ALL)}")
    return frozenset(names)


@dataclass(frozen=True)
class Share:
    """One of `of` parts of all devices, the `number`th from 1 on. A device's part follows from its id alone.

    So all messages of a device are filed by one process, in their order, whatever broker carries them.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """From "2/4"."""
        found = _SHARE.fullmatch(text)
        if not found or not int(found[1]) <= int(found[2]) <= MAX_SHARES:
            raise TidegateError(f"{text!r} is not a share of the devices", "Write it like 2/4: the second of four")
        return cls(int(found[1]), int(found[2]))

    def has(self, device_id: str) -> bool:
        if self.of == 1:
            return True
        digest = hashlib.sha256(device_id.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:4], "big") % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
