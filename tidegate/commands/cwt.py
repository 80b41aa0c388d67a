"""Commands to devices: CWTs (RFC 8392), each for one device, with an expiry, executed once.

One signer makes a COSE_Sign1, several (if the trust store requires more than one) a COSE_Sign.

The claim cti is a counter: microseconds since 1970, raised where that would not increase. A device
stores the highest it has seen from a key and refuses anything not above it, so the last one used is in a file beside
the key and never decreases, even if the clock does.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate import json_text, names
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore
from tidegate.wire import cbor, cose, opcode_roles

MAX_SIZE = 1024
MAX_LIFETIME = 24 * 3600  # s; exp - iat
CLOCK_SKEW = 120  # s
CTI_SIZE = NONCE_SIZE = 8
TYP_CWT = 61  # application/cwt
MAX_SIGNATURES = 4

_AUD, _EXP, _IAT, _CTI, _NONCE, _REQUEST, _PROOF = 3, 4, 6, 7, 10, -65537, -65538
_PROTECTED = cbor.dumps({cose.HEADER_ALG: cose.ALG_ED25519, cose.HEADER_TYP: TYP_CWT})
_PROTECTED_SIGN = cbor.dumps({cose.HEADER_TYP: TYP_CWT})
_SIGN_HEAD = b"\xd8\x62"  # of tag 98


@dataclass(frozen=True)
class Command:
    """What a command says; times in seconds since 1970, `cti` and `nonce` as 8 bytes. prove: whether the device is to
    sign its result, which devices of older agents refuse."""

    audience: str
    opcode: str
    arguments: dict[str, Any] = field(default_factory=dict)
    cti: bytes = b""
    issued: int = 0
    expires: int = 0
    nonce: bytes | None = None
    prove: bool = False


@dataclass(frozen=True)
class Signed:
    """A command with verified signatures: its content, the role and the ids of the keys that signed it."""

    command: Command
    role: str
    kids: tuple[bytes, ...]


def make(key: Key | Sequence[Key], command: Command) -> bytes:
    """Sign `command` with one command (or diagnose) key or several; the bytes to publish on the device's down/cmd."""
    keys = [key] if isinstance(key, Key) else list(key)
    if not 1 <= len({key.kid for key in keys}) == len(keys) <= MAX_SIGNATURES:
        raise TidegateError(f"a command is signed by 1 to {MAX_SIGNATURES} different keys")
    role = signing_role(keys)
    try:
        _check(command)
    except Refused as refusal:
        raise TidegateError(refusal.message, refusal.remedy) from refusal
    claims: dict[int, Any] = {
        _AUD: command.audience,
        _EXP: command.expires,
        _IAT: command.issued,
        _CTI: command.cti,
        _REQUEST: [command.opcode, command.arguments],
    }
    if command.nonce is not None:
        claims[_NONCE] = command.nonce
    if command.prove:
        claims[_PROOF] = True
    try:
        payload = cbor.dumps(claims)
    except (TypeError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise TidegateError(f"the arguments of {command.opcode} cannot be sent: {error}") from error
    signers = [key.signer_for(role) for key in keys]
    headers = {cose.HEADER_TYP: TYP_CWT}
    message = (
        cose.sign1(signers[0], payload, headers=headers) if len(signers) == 1 else cose.sign(signers, payload, headers)
    )
    if len(message) > MAX_SIZE:
        raise TidegateError(
            f"the command has {len(message)} bytes, at most {MAX_SIZE} fit a device", "Shorten its arguments"
        )
    return message


def signing_role(keys: Sequence[Key]) -> str:
    """The one role that all of these keys have to sign commands; TidegateError if there is none."""
    role = "diagnose" if keys[0].role == "diagnose" else "command"
    for key in keys:
        key.signer_for(role)
    return role


def check(data: bytes, trust: TrustStore) -> Signed:
    """The command in `data` if enough keys of `trust` signed it, of a role that may ask for such an opcode; else
    Refused. Only the built-in opcodes are known here; the device decides about its application's own."""
    return check_decoded(*decode(data), trust)


def check_decoded(command: Command, signatures: Sequence[cose.Signature], trust: TrustStore) -> Signed:
    """`check` for what `decode` has returned."""
    role = _role(signatures, trust)
    kids = tuple(key.kid for key in trust.quorum(role, signatures, "command"))
    if role == "diagnose" and command.opcode in opcode_roles.NOT_READ:
        raise Refused(
            "role",
            f"{command.opcode} changes something, and a diagnose key may only read",
            "Sign it with a command key",
        )
    return Signed(command, role, kids)


def _role(signatures: Sequence[cose.Signature], trust: TrustStore) -> str:
    """The role that these signatures count for: command if any command key signed, as on the device."""
    kids = {signature.kid for signature in signatures}
    diagnose = any(key.kid in kids for key in trust.role("diagnose"))
    return "diagnose" if diagnose and not any(key.kid in kids for key in trust.role("command")) else "command"


def decode(data: bytes) -> tuple[Command, tuple[cose.Signature, ...]]:
    """The command in `data` and its signatures, which are not checked here; Refused if it is malformed."""
    payload, signatures = _open(data)
    claims = cbor.loads(payload, "command", max_size=MAX_SIZE)
    labels = {_AUD, _EXP, _IAT, _CTI, _REQUEST}
    if not isinstance(claims, dict) or not labels <= set(claims) <= labels | {_NONCE, _PROOF}:
        raise _bad("its claims are not audience, expiry, issue time, counter and request")
    request = claims[_REQUEST]
    if not isinstance(request, list) or len(request) != 2:
        raise _bad("its request is not [opcode, arguments]")
    command = Command(
        audience=claims[_AUD],
        opcode=request[0],
        arguments=request[1],
        cti=claims[_CTI],
        issued=claims[_IAT],
        expires=claims[_EXP],
        nonce=claims.get(_NONCE),
        prove=claims.get(_PROOF, False),
    )
    _check(command)
    if _NONCE in claims and command.nonce is None:
        raise _bad("its nonce is not a byte string")
    if claims.get(_PROOF, True) is not True:
        raise _bad("its wish for a proof is not true")
    return command, signatures


def _open(data: bytes) -> tuple[bytes, tuple[cose.Signature, ...]]:
    """Payload and signatures of either form."""
    if data.startswith(_SIGN_HEAD):
        message = cose.decode_sign(data, "command", most=MAX_SIGNATURES, max_size=MAX_SIZE)
        payload, signatures = message.payload, message.signatures
        typed = message.protected == _PROTECTED_SIGN
    else:
        one = cose.decode_sign1(data, "command", max_size=MAX_SIZE)
        payload, signatures = one.payload or b"", (one.one(),)
        typed = one.protected == _PROTECTED
    if not typed:
        raise Refused("typ", "the command is not typed as a CWT")
    return payload, signatures


def verify(
    data: bytes,
    trust: TrustStore,
    audience: str,
    *,
    now: int | None = None,
    nonce: bytes | None = None,
    last: bytes | None = None,
) -> Command:
    """The command in `data` if device `audience` would execute it; else Refused with the reason.

    `now` is the device's clock, None without one: then the command must carry `nonce`, that of the
    device's last birth. `last` is the highest counter the device has seen from this key (from any key of
    its role, if several have signed).
    """
    command = check(data, trust).command
    if command.audience != audience:
        raise Refused("audience", f"the command is for {command.audience}, not for {audience}")
    if last is not None and command.cti <= last:
        raise Refused("replay", "the command's counter has been used", "Send a new one")
    if now is None:
        if nonce is None or command.nonce != nonce:
            raise Refused("nonce", "the command does not carry the nonce of the device's last birth")
    elif not command.issued <= now + CLOCK_SKEW:
        raise Refused("time", "the command is from the future", "Check the clock of the signing machine")
    elif now >= command.expires:
        raise Refused("expired", "the command has expired", "Send a new one")
    return command


def next_counter(key_file: Path | str) -> bytes:
    """The counter for the next command of this key file: above all before, and recorded before it is used."""
    state = Path(f"{key_file}.counter")
    lock = Path(f"{state}.lock")
    try:
        with lock.open("ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            value = max(time.time_ns() // 1000, _last_counter(state) + 1)
            write_atomic(state, json.dumps({"last": value}).encode() + b"\n", mode=0o600)
    except OSError as error:
        raise TidegateError(
            f"cannot keep the command counter in {state}: {error.strerror}",
            "Keep the key in a folder that can be written",
        ) from error
    return value.to_bytes(CTI_SIZE, "big")


def _last_counter(state: Path) -> int:
    if not state.exists():
        return 0
    try:
        last = json_text.loads(read_limited(state, 256, "command counter"))["last"]
    except (ValueError, KeyError, TypeError) as error:
        raise TidegateError(
            f"the command counter {state} is damaged",
            "Remove it if this machine's clock is right: the next counter then comes from the clock",
        ) from error
    return int(last)


def _check(command: Command) -> None:
    for name, value in ((names.DEVICE_ID, command.audience), (names.OPCODE, command.opcode)):
        if not name.fits(value):
            raise _bad(f"{name.refusal(value)} ({name.rule})")
    if not isinstance(command.arguments, dict) or not all(isinstance(k, str) for k in command.arguments):
        raise _bad("its arguments are not named by text")
    if not isinstance(command.cti, bytes) or len(command.cti) != CTI_SIZE:
        raise _bad(f"its counter is not {CTI_SIZE} bytes")
    if command.nonce is not None and (not isinstance(command.nonce, bytes) or len(command.nonce) != NONCE_SIZE):
        raise _bad(f"its nonce is not {NONCE_SIZE} bytes")
    for moment in (command.issued, command.expires):
        if not isinstance(moment, int) or isinstance(moment, bool) or moment < 0:
            raise _bad("its times are not whole seconds since 1970")
    if not 0 < command.expires - command.issued <= MAX_LIFETIME:
        lifetime = command.expires - command.issued
        raise _bad(f"it lives {lifetime} s, 1 to {MAX_LIFETIME} s are allowed")


def _bad(why: str) -> Refused:
    return Refused("malformed", f"the command is malformed: {why}")
