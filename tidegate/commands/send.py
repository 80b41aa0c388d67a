"""Sends commands through a server: signs a command for one device, hands it in, follows it to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.commands import cwt
from tidegate.commands.identity import Identities, NotProven
from tidegate.errors import TidegateError
from tidegate.trust import keys
from tidegate.wire import command_states

AT_ONCE = 32  # commands under way at a time
POLL_S, MOST_POLL_S = 0.2, 1.0
_NOT_ABOUT_THE_DEVICE = (0, 401, 403)  # HTTP statuses: no connection, no or too few rights


@dataclass(frozen=True)
class Request:
    """What a device is to do: an opcode, its arguments, and for how many seconds the command is valid. prove: whether
    it is to sign its answer, if it can."""

    opcode: str
    arguments: dict[str, Any]
    expires_s: int = 300
    prove: bool = False


class Sender:
    """One server and the keys to sign with, all of one role (`role`, if given); their counter files are beside them.

    identities: judges each device before anything is signed for it; None: the caller believes the server.
    messages: what was signed, by (device id, counter in hex).
    """

    def __init__(
        self, api: Server, key_files: Sequence[Path], role: str | None = None, identities: Identities | None = None
    ) -> None:
        self._api = api
        self._identities = identities
        self.messages: dict[tuple[str, str], bytes] = {}
        self._files = key_files
        self._keys = [keys.load(file) for file in key_files]
        if role is not None:
            for key in self._keys:
                key.signer_for(role)
        self.role = cwt.signing_role(self._keys)

    def send(self, device: dict[str, Any], request: Request) -> dict[str, Any]:
        """Sign `request` for a device as the server shows it, and hand it in; returns the command as the server has
        it."""
        if not device.get("nonce"):
            raise TidegateError(
                f"device {device['id']} has never connected: the server does not know the nonce of its boot",
                "Wait until it connects; see `tidegate device show`",
            )
        if self._identities is not None:
            self._identities.check(device["id"], device)
        now = int(time.time())
        command = cwt.Command(
            audience=device["id"],
            opcode=request.opcode,
            arguments=request.arguments,
            cti=max(cwt.next_counter(file) for file in self._files),
            issued=now,
            expires=now + request.expires_s,
            nonce=bytes.fromhex(device["nonce"]),
            prove=request.prove and bool(device.get("birth_proof")),  # agents that sign no births refuse it
        )
        message = cwt.make(self._keys, command)
        self.messages[device["id"], command.cti.hex()] = message
        answer = self._api.send_command(device["id"], message)
        return {**answer, "device": device["id"], "cti": command.cti.hex()}  # to follow what was signed, and no other

    def send_all(
        self, devices: Sequence[dict[str, Any]], request: Request, report: Callable[[int], None]
    ) -> list[dict[str, Any]]:
        """Send the same to several devices, a command each. One that cannot be sent has an "error" instead of a
        "cti"."""
        sent = []
        for number, device in enumerate(devices):
            report(number)
            sent.append(self._try_to_send(device, request, is_member=True))
        return sent

    def send_and_follow(
        self,
        requests: Sequence[tuple[str, Request]],
        wait_s: float,
        delay: Callable[[dict[str, Any]], str | None] = lambda device: None,
    ) -> Iterator[dict[str, Any]]:
        """Send each (device id, request), at most AT_ONCE at a time, and yield each command once it has ended, or as
        it is after `wait_s`.

        `delay` may give a reason not to send to a device as it is now: then {"device", "delayed": reason} is yielded;
        for a command that cannot be sent, {"device", "error", "remedy"}.
        """
        waiting = list(requests)
        under_way: list[tuple[dict[str, Any], float]] = []  # with the time when waiting for it ends
        pause = POLL_S
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                name, request = waiting.pop(0)
                device = self._api.device(name)  # as it is now: it may have booted since it was listed
                if device["id"] != name:
                    yield {"device": name, "error": f"the server shows {device['id']} in its place", "remedy": ""}
                    continue
                reason = delay(device)
                if reason is not None:
                    yield {"device": device["id"], "delayed": reason}
                    continue
                try:
                    sent = self._try_to_send(device, request)
                except NotProven as error:
                    yield {"device": name, "delayed": error.message}
                    continue
                if "error" in sent:
                    yield sent
                    continue
                under_way.append((sent, time.monotonic() + wait_s))
                pause = POLL_S
            still = []
            for sent, end in under_way:
                command = self._api.command(sent["cti"], sent["device"])
                if is_open(command) and time.monotonic() < end:
                    still.append((sent, end))
                else:
                    yield command
            under_way = still
            if under_way:
                time.sleep(pause)
                pause = _longer(pause)

    def _try_to_send(self, device: dict[str, Any], request: Request, is_member: bool = False) -> dict[str, Any]:
        try:
            if is_member and self._identities is not None:
                self._identities.check_member(device)
            return self.send(device, request)
        except TidegateError as error:
            if isinstance(error, NotProven) and not is_member:
                raise
            if isinstance(error, ServerError) and error.status in _NOT_ABOUT_THE_DEVICE:
                raise
            return {"device": device["id"], "error": error.message, "remedy": error.remedy}


def follow(api: Server, command: dict[str, Any], wait_s: float) -> Iterator[dict[str, Any]]:
    """The command as it proceeds, whole each time, until it has ended or `wait_s` is over; at least once."""
    for _ in rounds(wait_s):
        command = api.command(command["cti"], command["device"])
        yield command
        if not is_open(command):
            return


def follow_all(
    api: Server, sent: Sequence[dict[str, Any]], group: str, wait_s: float
) -> Iterator[list[dict[str, Any]]]:
    """The same for the commands of a group's members, in their order; those with an "error" stay as they are."""
    now = list(sent)
    for _ in rounds(wait_s):
        page = {(row["device"], row["cti"]): row for row in api.commands(500, group=group)["commands"]}
        for at, command in enumerate(now):
            if is_open(command):
                key = (command["device"], command["cti"])
                now[at] = page[key] if key in page else api.command(command["cti"], command["device"])
        yield now
        if not any(is_open(command) for command in now):
            return


def is_open(command: dict[str, Any]) -> bool:
    """Whether the command may still be answered."""
    return command.get("state") in command_states.OPEN


def rounds(wait_s: float) -> Iterator[None]:
    """Paces a loop that polls until `wait_s` is over, and once more then."""
    end, pause = time.monotonic() + wait_s, POLL_S
    while (left := end - time.monotonic()) > 0:
        yield
        time.sleep(min(pause, left))
        pause = _longer(pause)
    yield


def _longer(pause_s: float) -> float:
    return min(pause_s * 1.3, MOST_POLL_S)
