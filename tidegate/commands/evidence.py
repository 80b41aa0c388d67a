"""Evidence of what a device was asked and what it answered: both messages as they were, verified without a server.

A file of evidence is JSON: the signed command and the result, in hex, and the text that came before the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate import json_text
from tidegate.commands import cwt
from tidegate.commands.known_devices import KnownDevices, read
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.trust.store import TrustStore
from tidegate.wire import messages, proofs

_KIND = "tidegate-evidence"
_MAX_SIZE = 256 * 1024  # bytes of a file
_MEMBERS = {"kind", "version", "command", "result", "output"}


def of(message: bytes, command: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence of a command that was signed here (`message`), as the server shows it now. Not verified yet."""
    result = command.get("result") or {}
    signed = result.get("signed") if isinstance(result, dict) else None
    if not isinstance(signed, str):
        raise TidegateError(
            f"{command['device']} has not signed its answer",
            "It has no key of its own, its image is older than this, or it has not answered; see `tidegate cmd show`",
        )
    return {"kind": _KIND, "version": 1, "command": message.hex(), "result": signed, "output": command.get("output")}


def keep(path: Path, found: Mapping[str, Any], known: KnownDevices) -> None:
    """Verify evidence and write it to `path`."""
    verify(found, key_for(found, None, known.path))
    write_atomic(path, json.dumps(found, indent=2).encode() + b"\n")


def begin(path: Path, message: bytes) -> None:
    """Keep a command that is not answered yet, for `complete`."""
    found = {"kind": _KIND, "version": 1, "command": message.hex(), "result": None, "output": None}
    write_atomic(path, json.dumps(found, indent=2).encode() + b"\n")


def complete(path: Path, command: Mapping[str, Any], known: KnownDevices) -> None:
    """Add the answer, as the server shows it now, to the command that `begin` kept."""
    message = _bytes(load(path), "command")
    asked = cwt.decode(message)[0]
    if (asked.audience, asked.cti.hex()) != (command["device"], command["cti"]):
        raise TidegateError(f"{path} is of the command {asked.cti.hex()} for {asked.audience}", "Name its own file")
    keep(path, of(message, command), known)


def load(path: Path) -> dict[str, Any]:
    """The evidence in a file; its form alone is checked."""
    try:
        found = json_text.loads(read_limited(path, _MAX_SIZE, "evidence"))
    except json_text.NotJson as error:
        raise TidegateError(f"{path} {error}", "Name a file from `tidegate cmd send --proof`") from error
    if not isinstance(found, dict) or set(found) != _MEMBERS or (found["kind"], found["version"]) != (_KIND, 1):
        raise TidegateError(f"{path} is not evidence of a command", "Name a file from `tidegate cmd send --proof`")
    return found


def key_for(found: Mapping[str, Any], given: str | None, known: Path) -> bytes | None:
    """The public key of the device that the evidence is of: the one given, else the one that its id is the thumbprint
    of (None: the proof shows it), else the one known here. TidegateError if nobody knows it."""
    if given is not None:
        try:
            key = bytes.fromhex(given)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise TidegateError("a public key has 64 hex digits", "`tidegate device known show ID` shows it")
        return key
    device = _command(found).audience
    if proofs.is_thumbprint(device):
        return None
    keys = {one.key for one in read(known) if one.id == device and one.key is not None}
    if len(keys) != 1:
        raise TidegateError(
            f"the key of {device} is not known here", "Name it with --device-key; its id alone does not say which it is"
        )
    return bytes.fromhex(keys.pop())


def verify(found: Mapping[str, Any], key: bytes | None, store: TrustStore | None = None) -> dict[str, Any]:
    """What the evidence proves, as names and values; Refused if the device did not sign this.

    key: the device's public key, None if its id says which it is; store: of the keys that may have signed the command.
    """
    command, message = _command(found), _bytes(found, "command")
    if found["result"] is None:
        raise Refused(
            "proof", "the answer had not come when this was kept", f"tidegate cmd show {command.cti.hex()} --proof FILE"
        )
    answer = _bytes(found, "result")
    proof, digest = proofs.split_result(answer)
    if proof is None:
        raise Refused("proof", "the result is not signed by the device")
    signed = proofs.open_result(proof)
    for what, one, other in (
        ("device", signed.device, command.audience),
        ("command", signed.command, hashlib.sha256(message).digest()),
        ("answer", signed.answer, digest),
        ("boot", signed.nonce, command.nonce or signed.nonce),
        ("key", signed.public, key or signed.public),
    ):
        if one != other:
            raise Refused("proof", f"the device's signature is over another {what} than this evidence has")
    if key is None and not proofs.is_thumbprint(signed.device):
        raise Refused("proof", f"the key of {signed.device} is not known")
    output = found["output"] or None
    if output is not None and not isinstance(output, str):
        raise Refused("malformed", "the output is not text")
    written = None if output is None else hashlib.sha256(output.encode(errors="surrogatepass")).digest()
    if written != signed.output:
        raise Refused("proof", "the output is not the text that the device signed")
    said = messages.result(answer)
    if said["cti"] != command.cti.hex():
        raise Refused("proof", "the result answers another command")
    kids = [kid.hex() for kid in cwt.check(message, store).kids] if store is not None else None
    return {
        "device": signed.device,
        "key": signed.public.hex(),
        "opcode": command.opcode,
        "arguments": messages.plain(command.arguments),
        "cti": said["cti"],
        "signed_by": kids or "not checked: name --trust",
        "outcome": said["code"],
        "answer": said.get("answer"),
        "why": said.get("why"),
        "output": output,
    }


def _command(found: Mapping[str, Any]) -> cwt.Command:
    return cwt.decode(_bytes(found, "command"))[0]


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(found[name])
    except (ValueError, TypeError) as error:
        raise Refused("malformed", f"the {name} is not hex") from error
