"""What changed input must never do to the device's decoders and verifiers: raise anything but the module's own error,
touch what is not theirs, or take something signed that was changed.

A Target makes the case of a number from its seeds (valid input) and judges it. `run` does many, each the same for the
same seed and number, whatever was run before; what it finds is a Finding that says how to see it again.
"""

from binascii import hexlify, unhexlify
from hashlib import sha256
from io import BytesIO

import bspatch
import cbor
import check
import cose
import mutations
import senml_cbor.reader
import sim_commands
from bspatch import adaptive, plain
from check import vectors
from gate.trust import store as trust_store
from gate.trust import verify_rotation
from gate.update import suit_envelope
from gate.update.failures import Failure
from gate.update.plan import Plan


class Finding(AssertionError):
    """A property that does not hold."""


def need(good, what):
    if not good:
        raise Finding(what)


def feed():
    pass


class Target:
    """seeds: list of (bytes, what `judge` needs to know of them). structured: whether the bytes are CBOR."""

    structured = True

    def case(self, random):
        """(changed bytes, what is known of the seed, the seed)"""
        data, known = self.seeds[random.below(len(self.seeds))]
        other = self.seeds[random.below(len(self.seeds))][0]
        changed = None
        if self.structured and random.below(2):
            changed = mutations.knowing(random, data)
        return (mutations.blind(random, data, other) if changed is None else changed), known, data

    def judge(self, data, known, seed):
        """True if the case was taken, False if it was refused; raises Finding."""
        raise NotImplementedError


def messages(*files):
    """Every hex string in the vectors that is CBOR."""
    found = []
    for file in files:
        for entry in vectors(file):
            for value in entry.values():
                if isinstance(value, str) and len(value) > 8:
                    try:
                        data = unhexlify(value)
                        cbor.loads(data, 4096)
                    except (ValueError, cbor.CborError):
                        continue
                    found.append((data, None))
    return found


class Cbor(Target):
    """One spelling for each value, and none for what is refused."""

    def __init__(self):
        self.seeds = messages("wire", "messages", "senml", "trust")

    def judge(self, data, known, seed):
        try:
            value = cbor.loads(data, 4096)
        except cbor.CborError:
            return False
        need(cbor.dumps(value) == data, "it has another spelling")
        return True


class Cose(Target):
    """What a key signed is what is verified."""

    def __init__(self):
        self.seeds = []
        for entry in vectors("cose"):
            if entry["kind"] == "valid":
                known = [unhexlify(entry[name]) if entry.get(name) else None for name in ("key", "payload", "external")]
                self.seeds.append((unhexlify(entry["message"]), (known, entry.get("tagged", True))))

    def judge(self, data, known, seed):
        (key, payload, external), tagged = known
        try:
            message = cose.decode_sign1(data, tagged)
        except cose.CoseError:
            return False
        first = cose.decode_sign1(seed, tagged)
        detached = payload if message.payload is None else None
        try:
            good = cose.verify_sign1(message, key, detached, external=external or b"")
        except cose.CoseError:
            return False
        if good:
            need(message.protected == first.protected, "another header is verified")
            need(message.payload in (first.payload, None) or message.payload == payload, "another payload is verified")
            need(message.signature == first.signature, "another signature is verified")
        return good


class Envelope(Target):
    """The verifier of updates, data and all that travels in an envelope."""

    def __init__(self):
        setup = next(vectors("wire"))
        store = trust_store.parse(unhexlify(setup["trust"]))
        self.target = Device(setup, 1)
        self.seeds = []
        for entry in vectors("wire"):
            if entry["kind"] == "data" or (entry["kind"] == "envelope" and "image" in entry):
                self.seeds.append((unhexlify(entry["data"]), store))
        for entry in vectors("quorums"):
            if entry["kind"] == "manifest" and entry["verdict"] == "accept":
                self.seeds.append((unhexlify(entry["message"]), trust_store.parse(unhexlify(entry["store"]))))

    def judge(self, data, known, seed):
        try:
            manifest = suit_envelope.authenticate(data, known, feed)
        except Failure as failure:
            need(failure.word and failure.detail and 0 < failure.reason <= 12, "a failure without words")
            return False
        members = cbor.loads(data, 4096).value
        need(members[3] == cbor.loads(seed, 4096).value[3], "a manifest that nobody signed is taken")
        need(manifest.digest == suit_envelope.digest_with_head(members[3]), "another digest")
        try:
            Plan(manifest, self.target)
        except Failure:
            pass
        return True


class Device:
    """What plan and suit ask: a device that runs one image of the vectors; the next slot never holds the right one."""

    components = ([b"next"], [b"run"])

    def __init__(self, setup, running):
        self.vendor_id = unhexlify(setup["vendor_id"])
        self.class_id = unhexlify(setup["class_id"])
        self._running = unhexlify(setup["images"][str(running)])

    def matches(self, component, digest, size):
        return component == [b"run"] and digest == self._running


class TrustStore(Target):
    def __init__(self):
        self.seeds = [(unhexlify(entry["store"]), None) for entry in vectors("trust")]

    def judge(self, data, known, seed):
        try:
            store = trust_store.parse(data)
        except ValueError:
            return False
        kids = []
        for role, (threshold, keys) in store.roles.items():
            need(role in (1, 2, 3, 4) and 1 <= threshold <= len(keys), "a threshold nobody can reach")
            kids += list(keys)
        need(len(set(kids + store.revoked)) == len(kids) + len(store.revoked), "a key is there twice")
        return True


class TrustUpdate(Target):
    def __init__(self):
        self.seeds = []
        for entry in vectors("rotations"):
            step = entry["updates"][0]
            if step["verdict"] == "accept":
                store = trust_store.parse(unhexlify(entry["store"]))
                update = unhexlify(step["update"])
                self.seeds.append((update, (store, verify_rotation.verify(update, store, feed)[1])))

    def judge(self, data, known, seed):
        store, payload = known
        try:
            new, encoded = verify_rotation.verify(data, store, feed)
        except trust_store.Untrusted as error:
            need(error.reason and error.detail, "a refusal without words")
            return False
        need(encoded == payload, "a trust store that nobody signed is taken")
        need(new.version == store.version + 1, "a version left out")
        return True


class Command(Target):
    def __init__(self):
        self._device = sim_commands.device(Forgets())
        self._outbox = self._device.outbox
        self.seeds = [
            (unhexlify(entry["data"]), None)
            for entry in vectors("wire_commands")
            if entry["kind"] == "command" and entry["result"] == 0 and "pad" not in entry
        ]

    def judge(self, data, known, seed):
        answer = self._answer(data)
        if not answer:
            return False
        need(answer == self._answer(seed), "a command that nobody signed is taken")
        return True

    def _answer(self, data):
        """What was sent for a command that was carried out, or nothing."""
        self._outbox.sent = []
        self._device.commands._counters.clear()
        with sim_commands.offering(sim_commands.OFFERED):
            self._device.handle_at_once(data)
        for topic, message in self._outbox.sent:
            # Whatever else is raised is refused too; the word for that is the name of the error.
            surprise = str(message.get(3, "")).split(":")[0] if topic == "alarm" else ""
            need(not surprise.endswith("Error"), "a surprise: %r" % message)
        answers = [message for message in self._outbox.results() if message[2] < 2]
        for message in answers:
            message.get(3, {}).pop("uptime_s", None)
        return answers


class Forgets:
    """A gate.files.SmallFiles without files."""

    def load(self, name, default=None):
        return default

    def store(self, name, value):
        pass


class Telemetry(Target):
    def __init__(self):
        self.seeds = [(unhexlify(entry["pack"]), None) for entry in vectors("senml") if "records" in entry]

    def judge(self, data, known, seed):
        try:
            senml_cbor.reader.decode(data)
        except senml_cbor.SenmlError:
            return False
        return True


class Slots:
    """An old image that knows its bounds, a new one that knows its size, and how long it took."""

    def __init__(self, old, new_size):
        self._old = memoryview(old)
        self._size = new_size
        self.new = bytearray()
        self.reads = 0

    def read_old(self, offset, view):
        end = offset + len(view)
        need(0 <= offset < end <= len(self._old), "reads %d..%d of %d" % (offset, end, len(self._old)))
        self.reads += 1
        view[:] = self._old[offset:end]

    def write(self, view):
        need(0 < len(view) <= self._size - len(self.new), "writes past the end")
        self.new.extend(view)


class Guarded:
    """A range decoder whose buffers are looked at: nothing beside them is written."""

    _EDGE = b"\xa5" * 16

    def __init__(self, decode):
        self._decode = decode
        self.__name__ = decode.__name__

    def step(self, core, model, data):
        self._decode.step(core, model, data)

    def literal(self, core, model, data, view):
        held = bytearray(self._EDGE + bytes(view) + self._EDGE)
        self._decode.literal(core, model, data, memoryview(held)[16:-16])
        need(held[:16] == self._EDGE and held[-16:] == self._EDGE, "%s writes beside its buffer" % self.__name__)
        view[:] = held[16:-16]


def decoders():
    """Every range decoder of this ground, plain first."""
    found = [plain]
    for name in ("bspatch.viper", "_bspatch"):
        try:
            found.append(Guarded(adaptive._module(name)))
        except (ImportError, SyntaxError, ValueError):
            pass
    return found


class Patch(Target):
    """Both codecs; `known` is (old image, SHA-256 of the new, its size)."""

    structured = False

    def __init__(self):
        self.seeds = []
        self._decoders = decoders()
        base = b""
        for entry in vectors("adaptive_patches"):
            if "base" in entry:
                base += unhexlify(entry["base"])
            elif "new_size" in entry:
                known = base[: entry["old_size"]], unhexlify(entry["new_sha256"]), entry["new_size"]
                self.seeds.append((unhexlify(entry["patch"]), known))
        for name in ("patches", "host_patches"):
            for entry in vectors(name):
                if "new" in entry:
                    new = unhexlify(entry["new"])
                    known = unhexlify(entry["old"]), sha256(new).digest(), len(new)
                    self.seeds.append((unhexlify(entry["patch"]), known))

    def case(self, random):
        data, known = self.seeds[random.below(len(self.seeds))]
        other = self.seeds[random.below(len(self.seeds))][0]
        if random.below(8) == 0:
            return mutations.blind(random, data, other), known, data
        # The header, with its checks, as it was: the body alone must hold.
        stream = BytesIO(data)
        bspatch.header(stream)
        body = stream.read()
        return data[: len(data) - len(body)] + mutations.blind(random, body, other), known, data

    def judge(self, data, known, seed):
        old, digest, new_size = known
        stream = BytesIO(data)
        try:
            head = bspatch.header(stream)
        except bspatch.PatchError:
            return False
        if head.old_size != len(old) or head.new_size != new_size:  # as the agent does, the sizes being signed
            return False
        body = stream.read()
        if head.codec == bspatch.DEFLATE:
            made = self._made(old, new_size, body, None)
        else:
            seen = [self._made(old, new_size, body, decode) for decode in self._decoders]
            made = seen[0]
            for other in seen[1:]:
                need(
                    other == made,
                    "the decoders differ: %r" % [item if isinstance(item, str) else "made" for item in seen],
                )
        if isinstance(made, str):
            return False
        need(len(made) == new_size, "%d bytes of %d" % (len(made), new_size))
        # What the agent looks at last: only the signed image passes.
        return sha256(made).digest() == digest

    def _made(self, old, new_size, body, decode):
        """The image, or the words of its refusal."""
        slots = Slots(old, new_size)
        try:
            if decode:
                adaptive.apply(slots.read_old, len(old), BytesIO(body), slots.write, new_size, decode)
            else:
                bspatch.apply(slots.read_old, len(old), BytesIO(body), slots.write, new_size)
        except bspatch.PatchError as error:
            return str(error)
        finally:
            need(slots.reads <= 2 * new_size + 64, "%d reads for %d bytes" % (slots.reads, new_size))
        return bytes(slots.new)


TARGETS = {
    "cbor": Cbor,
    "cose": Cose,
    "envelope": Envelope,
    "trust-store": TrustStore,
    "trust-update": TrustUpdate,
    "command": Command,
    "telemetry": Telemetry,
    "patch": Patch,
}


def run(name, count, seed, first=0):
    """(taken, refused) of so many cases; raises Finding with the case in its words."""
    target = TARGETS[name]()
    need(target.seeds, "no seeds")
    for data, known in target.seeds:
        need(target.judge(data, known, data) or name in ("trust-store",), "a seed is refused: %s" % hexlify(data))
    taken = 0
    for number in range(first, first + count):
        data, known, origin = target.case(mutations.random_at(seed, number))
        try:
            taken += bool(target.judge(data, known, origin))
        except Exception as error:
            text = hexlify(data).decode()
            where = check.where(error)
            raise Finding("%s, seed %d, case %d: %s, input %s" % (name, seed, number, where, text))
    return taken, count - taken
