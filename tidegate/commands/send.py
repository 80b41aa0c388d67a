"""Asks devices through a server: signs a command for one of them, hands it in, follows it to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.client import Server, ServerError
from tidegate.commands import cwt
from tidegate.errors import TidegateError
from tidegate.trust import keys

OPEN = ("pending", "verified", "uplinked")
POLL_S, MOST_POLL_S = 0.2, 1.0


@dataclass(frozen=True)
class Request:
    """What is asked of a device: an opcode, its arguments, and for how many seconds that holds."""

    opcode: str
    arguments: dict[str, Any]
    expires_s: int = 300


class Asker:
    """One server and the keys to sign with. They have one role; their counter files lie beside them."""

    def __init__(self, api: Server, key_files: Sequence[Path]) -> None:
        self._api = api
        self._files = key_files
        self._keys = [keys.load(file) for file in key_files]
        self.role = cwt.signing_role(self._keys)

    def ask(self, device: dict[str, Any], request: Request) -> dict[str, Any]:
        """Sign `request` for a device as the server shows it, and hand it in; the command as the server has it."""
        if not device.get("nonce"):
            raise TidegateError(
                f"device {device['id']} has not been born yet: the server has no nonce of it",
                "Wait until it connects; `tidegate device show` tells",
            )
        now = int(time.time())
        wanted = cwt.Command(
            audience=device["id"],
            opcode=request.opcode,
            arguments=request.arguments,
            cti=max(cwt.next_counter(file) for file in self._files),
            issued=now,
            expires=now + request.expires_s,
            nonce=bytes.fromhex(device["nonce"]),
        )
        return self._api.send_command(device["id"], cwt.make(self._keys, wanted))

    def ask_all(
        self, devices: Sequence[dict[str, Any]], request: Request, tell: Callable[[int], None]
    ) -> list[dict[str, Any]]:
        """The same of several devices, a command each. One that cannot be asked has an "error" instead of a "cti"."""
        asked = []
        for number, device in enumerate(devices):
            tell(number)
            try:
                asked.append(self.ask(device, request))
            except TidegateError as error:
                if isinstance(error, ServerError) and error.status in (0, 401, 403):
                    raise  # it is not about this device
                asked.append({"device": device["id"], "error": error.message, "remedy": error.remedy})
        return asked


def follow(api: Server, told: dict[str, Any], wait_s: float) -> Iterator[dict[str, Any]]:
    """The command as it goes on, whole each time, until it has ended or `wait_s` is over; at least once."""
    for _ in rounds(wait_s):
        told = api.command(told["cti"], told["device"])
        yield told
        if not is_open(told):
            return


def follow_all(
    api: Server, asked: Sequence[dict[str, Any]], group: str, wait_s: float
) -> Iterator[list[dict[str, Any]]]:
    """The same for the commands of a group's members, in their order; those with an "error" stay as they are."""
    now = list(asked)
    for _ in rounds(wait_s):
        page = {(row["device"], row["cti"]): row for row in api.commands(500, group=group)["commands"]}
        for at, told in enumerate(now):
            if is_open(told):
                key = (told["device"], told["cti"])
                now[at] = page[key] if key in page else api.command(told["cti"], told["device"])
        yield now
        if not any(is_open(told) for told in now):
            return


def is_open(told: dict[str, Any]) -> bool:
    return told.get("state") in OPEN


def rounds(wait_s: float) -> Iterator[None]:
    """Paces a loop that looks until `wait_s` is over, and once then."""
    end, pause = time.monotonic() + wait_s, POLL_S
    while (left := end - time.monotonic()) > 0:
        yield
        time.sleep(min(pause, left))
        pause = min(pause * 1.3, MOST_POLL_S)
    yield
