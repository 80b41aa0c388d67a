"""The draft's Examples 0 to 5 (draft-ietf-suit-manifest, appendix B) through the device's own code.

Authentication: envelope.unwrap and cose.verify_sign1, as on the device, with python cryptography's ES256 where the
device has Ed25519. Decisions: suit.Processor. What the examples use beyond our profile (docs/suit-profile.md) is first
seen to be refused by the profile's processor, for the right reason; then it is run by `Wide`, which only adds to it
what it lacks: component-slot, copy and invoke, a fetch or match without a size, and sections other than install and
validate. The order of sections, severed members and what the components hold are the test's. On the host only: the
files stay there.
"""

import check
import cose
from check import equal, raises, skip, true
from gate.update import failures, suit_envelope
from gate.update.failures import Failure
from gate.update.suit_processor import ConditionFailed, Fetch, Processor

GROUNDS = ("cpython",)

VENDOR = bytes.fromhex("fa6b4a53d5ad5fdfbe9de663e4d41ffe")
CLASS = bytes.fromhex("1492af1425695e48bf429b2d51f2ab45")
FIRST = bytes.fromhex("00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210")
SECOND = bytes.fromhex("0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff")
# The key that the draft prints.
X = bytes.fromhex("8496811aae0baaabd26157189eecda26beaa8bf11b6f3fe6e2b5659c85dbc0ad")
Y = bytes.fromhex("3b1f2a4b6c098131c0a36dacd1d78bd381dcdfb09c052db33991db7338b4a896")
ES256 = -7

COMPONENTS, SEVERABLE = 2, {16: "payload-fetch", 20: "install", 23: "text"}
SECTIONS = {7: "validate", 8: "load", 9: "invoke", 16: "payload-fetch", 20: "install"}
SLOT, SOURCE = 5, 22  # parameters
MATCH, IF_SLOT, COPY, INVOKE = 3, 5, 22, 23  # commands


def envelopes(number):
    """Every envelope printed in the example's file, the one without signature first."""
    try:
        with open(check.root() + "/../shared/vectors/suit_example%d.txt" % number) as file:
            blocks = file.read().split("~~~")
    except OSError:
        skip("no ../shared/vectors/suit_example%d.txt" % number)
    found = []
    for block in blocks:
        text = block.replace("\n", "").strip()
        if text and all(char in "0123456789abcdef" for char in text):
            found.append(bytes.fromhex(text))
    return found


def es256(public, message, signature):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    try:
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def opened(data):
    """{member: bytes} of a signed example: unwrapped, its signature checked, severed members put back; or Failure."""
    members, wrapper, _ = suit_envelope.unwrap(data)
    sign1 = cose.decode_sign1(wrapper[1])
    true(sign1.payload is None, "detached")
    if not cose.verify_sign1(sign1, X + Y, wrapper[0], verify=es256, alg=ES256):
        raise Failure(failures.SIGNATURE, "the signature is wrong")
    manifest = suit_envelope.decode(members[3], "manifest")
    for key in SEVERABLE:
        if isinstance(manifest.get(key), list):
            severed = members.get(key)
            if severed is None:
                del manifest[key]  # not sent: nothing to run
                continue
            equal(suit_envelope.digest_with_head(severed), manifest[key][1], SEVERABLE[key])
            manifest[key] = severed
    return manifest


class Device:
    """What the examples are made for: components 00, 01 and 02, of which some hold an image; runs from a slot."""

    vendor_id, class_id = VENDOR, CLASS
    components = ([b"\x00"], [b"\x01"], [b"\x02"])

    def __init__(self, slot=0):
        self.slot = slot
        self.holds = {}  # component -> SHA-256
        self.did = []

    def matches(self, component, digest, size):
        return self.holds.get(component[0]) == digest


class Wide(Processor):
    """The processor with what the examples need and the profile refuses."""

    def _parameter(self, key, value):
        if key in (SLOT, SOURCE):
            return value
        return super()._parameter(key, value)

    def _command(self, command):
        here, parameters = self._components[self._index], self._parameters[self._index]
        device = self._target
        if command == IF_SLOT:
            if parameters[SLOT] != device.slot:
                raise ConditionFailed(Failure(failures.NO_BRANCH, "another slot"))
        elif command == COPY:
            source = self._components[parameters[SOURCE]][0]
            device.did.append(("copy", source, here[0]))
            # In Example 4 the copied image is unpacked on the way: what arrives is what the manifest says.
            device.holds[here[0]] = parameters[3]
        elif command == MATCH and 14 not in parameters:
            if not device.matches(here, parameters[3], None):
                raise ConditionFailed(Failure(failures.IMAGE_DIGEST, "another image"))
        elif command == INVOKE:
            device.did.append(("invoke", here[0]))
        else:
            super()._command(command)

    def _fetch(self):
        fetch = Fetch(self._components[self._index], self._parameters[self._index])
        true(fetch.uri is not None and fetch.digest is not None, "a fetch of something known")
        return fetch


def run(manifest, device, *sections):
    """Runs these sections in order; what is fetched arrives as announced unless the device lacks it."""
    processor = Wide(as_manifest(manifest), device)
    for number in sections:
        for fetch in processor._section(manifest[number], SECTIONS[number]):
            device.did.append(("fetch", fetch.uri, fetch.component[0]))
            device.holds[fetch.component[0]] = fetch.digest
    return device.did


def as_manifest(members):
    return suit_envelope.Manifest(b"", members[2], members[3], members[7], members.get(20))


def narrow(manifest, section, device):
    """The failure that the profile's own processor ends in."""
    return raises(Failure, lambda: list(Processor(as_manifest(manifest), device)._section(section, "section")))


def signed(number):
    return envelopes(number)[1]


def test_every_example_is_authentic_and_every_change_is_not():
    for number in range(6):
        bare, *whole = envelopes(number)
        true(whole, "signed envelopes of example %d" % number)
        for data in whole:
            equal(opened(data)[2], number)
            for at in range(0, len(data), 7):
                changed = bytearray(data)
                changed[at] ^= 4
                raises((Failure, cose.CoseError, AssertionError), opened, bytes(changed))
        raises(Failure, suit_envelope.unwrap, bare)  # its wrapper holds no signature
        # The device itself, with any trust store, takes none of them.
        for data in whole:
            raises(Failure, suit_envelope.authenticate, data, None, lambda: None)


def test_example_0_secure_boot():
    manifest, device = opened(signed(0)), Device()
    equal(raises(Failure, run, manifest, device, 7).code, failures.IMAGE_DIGEST)
    device.holds[b"\x00"] = FIRST
    equal(run(manifest, device, 7, 9), [("invoke", b"\x00")])
    equal(narrow(manifest, manifest[9], device).reason, failures.SUIT_COMMAND)
    # validate alone is within the profile
    Processor(as_manifest(manifest), device).validate()


def test_example_1_download_and_install():
    manifest, device = opened(signed(1)), Device()
    steps = Processor(as_manifest(manifest), device).install()  # all of it is within the profile
    fetch = next(steps)
    equal(
        (fetch.component, fetch.uri, fetch.digest, fetch.size), ([b"\x00"], "http://example.com/file.bin", FIRST, 34768)
    )
    equal(raises(Failure, next, steps).code, failures.IMAGE_DIGEST)  # nothing has arrived
    device.holds[b"\x00"] = FIRST
    processor = Processor(as_manifest(manifest), device)
    equal(len(list(processor.install())), 1)
    processor.validate()


def test_example_2_severed_members():
    for data in envelopes(2)[1:]:
        manifest, device = opened(data), Device()
        if 20 in manifest:
            uri = "http://example.com/very/long/path/to/file/file.bin"
            equal(run(manifest, device, 20, 7, 9), [("fetch", uri, b"\x00"), ("invoke", b"\x00")])
            true(b"arm.com" in manifest[23], "text")
        else:  # what is left once the image is installed
            device.holds[b"\x00"] = FIRST
            equal(run(manifest, device, 7, 9), [("invoke", b"\x00")])
    data = envelopes(2)[2]
    changed = data.replace(b"file/file.bin", b"file/evil.bin")
    raises(AssertionError, opened, changed)  # a severed member is covered by its digest


def test_example_3_each_slot_its_image():
    manifest = opened(signed(3))
    for slot, uri, digest in ((0, "http://example.com/file1.bin", FIRST), (1, "http://example.com/file2.bin", SECOND)):
        device = Device(slot)
        equal(run(manifest, device, 20, 7), [("fetch", uri, b"\x00")])
        equal(device.holds[b"\x00"], digest)
    equal(raises(Failure, run, manifest, Device(2), 20).code, failures.NO_BRANCH)
    equal(narrow(manifest, manifest[20], Device()).reason, failures.SUIT_PARAMETER)


def test_example_4_copied_and_loaded():
    manifest, device = opened(signed(4)), Device()
    run(manifest, device, 16, 20, 7, 8, 9)
    wanted = [("fetch", "http://example.com/file.bin", b"\x02"), ("copy", b"\x02", b"\x00"), ("copy", b"\x00", b"\x01")]
    equal(device.did, wanted + [("invoke", b"\x01")])
    equal(device.holds, {b"\x02": FIRST, b"\x00": FIRST, b"\x01": SECOND})
    for section, reason in ((20, failures.SUIT_PARAMETER), (8, failures.SUIT_PARAMETER), (9, failures.SUIT_COMMAND)):
        equal(narrow(manifest, manifest[section], device).reason, reason)


def test_example_5_two_images():
    manifest, device = opened(signed(5)), Device()
    run(manifest, device, 20, 7, 9)
    wanted = [("fetch", "http://example.com/file1.bin", b"\x00"), ("fetch", "http://example.com/file2.bin", b"\x01")]
    equal(device.did, wanted + [("invoke", b"\x00")])
    # Two fetches are within what the interpreter runs; that a release has one is the updater's rule.
    device = Device()
    steps = Processor(as_manifest(manifest), device).install()
    for name, digest in ((b"\x00", FIRST), (b"\x01", SECOND)):
        equal(next(steps).component, [name])
        device.holds[name] = digest
    equal(next(steps, None), None)
    device.holds[b"\x01"] = FIRST
    equal(raises(Failure, run, manifest, device, 7).code, failures.IMAGE_DIGEST)


def test_another_vendor_or_class_is_refused():
    manifest = opened(signed(1))
    for name in ("vendor_id", "class_id"):
        device = Device()
        setattr(device, name, bytes(16))
        equal(raises(Failure, run, manifest, device, 20).code, failures.WRONG_BOARD)
        equal(device.did, [])
