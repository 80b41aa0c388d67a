"""Signed commands: CWTs (RFC 8392) for this device only, each carried out at most once.

The order of the checks is that of the specification: size, decoding, type, keys and signatures,
audience, nonce, counter. This device has no clock, so a command must carry the nonce of
its last birth; exp and iat are checked for shape only. The counter is on the file system before
the command is carried out: a reset may lose a command, never repeat one.

A COSE_Sign1 uses its counter up for its one key. A COSE_Sign, of several signers, does so for
every command key: else whoever relays it could split its signatures into two commands.
"""

import asyncio

import cbor
import cose

from tidegate import alarms, console, trust
from tidegate.clock import const
from tidegate.reports import shorten

MAX_SIZE = const(1024)
COUNTERS = "counters"  # {kid: highest counter carried out}

_QUEUE = const(4)  # commands that wait; more are refused
_MAX_LIFETIME = const(86400)  # s
_PROTECTED = {1: -19, 16: 61}  # Ed25519, application/cwt
_PROTECTED_SIGN = {16: 61}  # the algorithm is each signer's
_MAX_SIGNATURES = const(4)
_SIGN = b"\xd8\x62"  # the head of tag 98, COSE_Sign
_AUD = const(3)
_EXP = const(4)
_IAT = const(6)
_CTI = const(7)
_NONCE = const(10)
_REQUEST = const(-65537)
_REQUIRED = (_AUD, _EXP, _IAT, _CTI, _REQUEST)

DONE = const(0)
FAILED = const(1)
REFUSED = const(2)


class Refusal(Exception):
    """A command that is not carried out. reason: a word of docs/reports.md; answer: the sender may
    be told.
    """

    def __init__(self, reason, detail, answer=False):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.answer = answer


class Command:
    """A verified command. cti: 8 bytes."""

    def __init__(self, cti, opcode, arguments):
        self.cti = cti
        self.opcode = opcode
        self.arguments = arguments


class Commands:
    """Takes commands from the network one by one and hands them to handlers."""

    def __init__(self, device, trust_store, nonce, state, outbox, alarms_, handlers, feed):
        """handlers: {opcode: function(arguments dict) -> answer dict}; what one raises is a failed
        command.
        """
        self._device = device
        self._trust = trust_store
        self._nonce = nonce
        self._state = state
        self._outbox = outbox
        self._alarms = alarms_
        self._handlers = handlers
        self._feed = feed
        self._counters = _counters(state)
        self._queue = []
        self._work = asyncio.Event()
        self.signed_at = None  # function(seconds since 1970), told when a command was signed

    def push(self, data):
        """Takes a command (bytes) from the network. Cheap: called from the MQTT reader."""
        if len(self._queue) >= _QUEUE:
            self._alarms.raise_(
                alarms.COMMAND_REFUSED, "busy", "more than %d commands at once" % _QUEUE
            )
            return
        self._queue.append(data)
        self._work.set()

    async def run(self, beat):
        """The task that carries commands out."""
        while True:
            await beat.wait(self._work)
            while self._queue:
                self.handle(self._queue.pop(0))
                await beat.sleep(0)

    def handle(self, data):
        """Verifies and carries out one command; its result or alarm goes to the outbox."""
        cti = None
        try:
            claims, kids = self._authenticate(data)
            cti = claims[_CTI]
            command = self._accept(claims, kids)
        except Exception as error:
            refusal = error if isinstance(error, Refusal) else _surprise(error)
            cti = cti or _claimed_cti(data)
            self._alarms.raise_(alarms.COMMAND_REFUSED, refusal.reason, refusal.detail, cti)
            if refusal.answer:
                self._answer(cti, REFUSED, why=refusal.reason + ": " + refusal.detail)
            return
        if self.signed_at:
            self.signed_at(claims[_IAT])
        console.info("command %s", command.opcode)
        try:
            answer = self._handlers[command.opcode](command.arguments)
        except Exception as error:
            self._answer(command.cti, FAILED, why="%s: %s" % (type(error).__name__, error))
            return
        self._answer(command.cti, DONE, answer=answer)

    def _authenticate(self, data):
        """(claims, ids of the keys whose counter it uses up) once the signatures are right."""
        if len(data) > MAX_SIZE:
            raise Refusal("too-large", "%d bytes, at most %d" % (len(data), MAX_SIZE))
        try:
            message, protected = _decode(data)
        except cose.CoseError as error:
            raise Refusal("malformed", str(error))
        if message.headers != protected or message.payload is None:
            raise Refusal("typ", "not a signed CWT")
        try:
            signers = self._trust.quorum(trust.COMMAND, trust.signatures(message), self._feed)
        except trust.Untrusted as error:
            raise Refusal(error.reason, error.detail)
        try:
            claims = cbor.loads(message.payload, MAX_SIZE)
        except cbor.CborError as error:
            raise Refusal("malformed", str(error))
        _check_claims(claims)
        if isinstance(message, cose.Sign1):
            return claims, signers
        return claims, self._trust.kids(trust.COMMAND)

    def _accept(self, claims, kids):
        """The Command, its counter used up."""
        if claims[_AUD] != self._device:
            raise Refusal("audience", "for %s" % claims[_AUD])
        counter = int.from_bytes(claims[_CTI], "big")
        if counter <= max(self._counters.get(kid, -1) for kid in kids):
            # Its first delivery has been answered; answering again would contradict that.
            raise Refusal("replay", "counter used before")
        if claims.get(_NONCE) != self._nonce:
            raise Refusal(
                "nonce",
                "not made for this boot; ask for the last birth and sign again",
                answer=True,
            )
        opcode, arguments = claims[_REQUEST]
        if opcode not in self._handlers:
            raise Refusal("opcode", "%s is not offered here" % opcode, answer=True)
        for kid in kids:
            self._counters[kid] = counter
        try:
            self._state.store(COUNTERS, self._counters)
        except OSError as error:
            raise Refusal("storage", "the counter could not be kept: %r" % error, answer=True)
        return Command(claims[_CTI], opcode, arguments)

    def _answer(self, cti, code, answer=None, why=None):
        message = {1: cti, 2: code}
        if answer:
            message[3] = answer
        if why:
            message[4] = shorten(why)
        self._outbox.add("result", cbor.dumps(message))


def _surprise(error):
    """What verifying raised beside Refusal: whatever was sent, it only refuses the command."""
    if isinstance(error, MemoryError):
        return Refusal("memory", "not enough memory to verify it")
    return Refusal("malformed", "%s: %s" % (type(error).__name__, error))


def _counters(state):
    kept = state.load(COUNTERS, {})
    return kept if isinstance(kept, dict) else {}


def _check_claims(claims):
    """The shape of the claims, docs/wire.cddl."""
    good = isinstance(claims, dict) and all(key in claims for key in _REQUIRED)
    if good:
        request, cti, nonce = claims[_REQUEST], claims[_CTI], claims.get(_NONCE, bytes(8))
        good = (
            len(claims) == len(_REQUIRED) + (_NONCE in claims)
            and isinstance(claims[_AUD], str)
            and _is_uint(claims[_EXP])
            and _is_uint(claims[_IAT])
            and 0 <= claims[_EXP] - claims[_IAT] <= _MAX_LIFETIME
            and isinstance(cti, bytes)
            and len(cti) == 8
            and isinstance(nonce, bytes)
            and len(nonce) == 8
            and isinstance(request, list)
            and len(request) == 2
            and isinstance(request[0], str)
            and isinstance(request[1], dict)
            and all(isinstance(key, str) for key in request[1])
        )
    if not good:
        raise Refusal("malformed", "the claims are not those of a command")


def _decode(data):
    """(cose.Sign1 or cose.Sign, the protected header it must have); raises cose.CoseError."""
    if data[:2] == _SIGN:
        return cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE), _PROTECTED_SIGN
    return cose.decode_sign1(data), _PROTECTED


def _claimed_cti(data):
    """The counter a refused command claims, unverified, so that people can tell which one it was;
    or None.
    """
    try:
        cti = cbor.loads(_decode(data)[0].payload, MAX_SIZE)[_CTI]
        return cti if isinstance(cti, bytes) and len(cti) == 8 else None
    except (ValueError, TypeError, KeyError, IndexError, cose.CoseError):
        return None


def _is_uint(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
