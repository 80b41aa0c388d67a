"""Parsers of the host's library: files, releases, keys, and what a server or a device says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parsers import Judge, Target, hexes, shared


def of(*functions: Callable[[bytes], Any]) -> Judge:
    """Each function takes the bytes; a TidegateError with words is an answer."""
    from tidegate.errors import TidegateError

    def judge(data: bytes) -> None:
        for function in functions:
            try:
                function(data)
            except TidegateError as error:
                if not str(error):
                    raise AssertionError("an error without words") from None

    return judge


def of_file(name: str, *functions: Callable[[Path], Any]) -> Judge:
    """The same for functions that take the path of a file with the bytes."""
    path = Path(tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared())) / name

    def write(function: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        def run(data: bytes) -> None:
            path.write_bytes(data)
            function(path)

        return run

    return of(*(write(function) for function in functions))


def cbor() -> Judge:
    from tidegate.wire import cbor as module

    def both(data: bytes) -> None:
        value = module.loads(data)
        if module.dumps(value) != data:
            raise AssertionError("it has another spelling")

    return of(both)


def cose() -> Judge:
    from tidegate.wire import cose as module

    return of(
        lambda data: module.decode_sign1(data, "x"),
        lambda data: module.decode_sign1(data, "x", detached=True),
        lambda data: module.decode_sign(data, "x", most=4),
    )


def manifest() -> Judge:
    from tidegate.manifest import data_profile, envelope, profile

    def whole(data: bytes) -> None:
        found = envelope.open_envelope(data)
        for decode in (profile.decode, data_profile.decode):
            decode(found.manifest)

    return of(whole, profile.decode, data_profile.decode)


def usb() -> Judge:
    """What a board says on its serial line, one piece or many; it may reach nothing."""
    from tidegate.link.addresses import Allowed
    from tidegate.link.frames import Frame, Kind, unpack
    from tidegate.link.relay import Relay

    def wrote(data: bytes) -> None:
        if unpack(data[1:-1]) is None:
            raise AssertionError("it says what is no frame")

    def judge(data: bytes) -> None:
        relay = Relay(Allowed([]), wrote, lambda what, facts: None)
        relay.feed(Frame(Kind.HELLO, 0, 0, 1, b"boot").pack())
        relay.feed(data)
        for at in range(0, len(data) - 2, 40):
            kind = Kind(data[at] % len(Kind) + 1)
            relay.feed(Frame(kind, relay.session, data[at + 1], data[at + 2], data[at + 3 : at + 40]).pack())

    return judge


def data_release() -> Judge:
    from tidegate.release import data_release as module
    from tidegate.trust import keys, store

    trusted = store.make([keys.from_seed("release", bytes(range(32)))])
    return of(lambda data: module.verify_envelope(data, trusted))


def json_text() -> Judge:
    from tidegate import json_text as module

    def judge(data: bytes) -> None:
        try:
            module.loads(data)
        except ValueError as error:
            if not str(error):
                raise AssertionError("an error without words") from None

    return of(judge)


def trust() -> Judge:
    from tidegate.trust import rotation, store

    return of(store.decode, rotation.store_of, rotation.signers)


def command() -> Judge:
    from tidegate.commands import cwt

    return of(cwt.decode)


def messages() -> Judge:
    from tidegate.wire import messages as module
    from tidegate.wire import proofs, senml

    return of(
        module.birth, module.state, module.report, module.result, module.alarm, lambda data: senml.read(data, 0.0),
        proofs.open_birth, proofs.open_result, proofs.split_result,
    )  # fmt: skip


def telemetry() -> Judge:
    """The short way reads what the general way reads, or nothing."""
    from tidegate.errors import Refused
    from tidegate.wire import senml, senml_usual

    def judge(data: bytes) -> None:
        found = senml_usual.read(data, 1e9, senml.RELATIVE, senml._is_name)
        try:
            general = senml.read_generally(data, 1e9)
        except Refused:
            assert found is None or len(data) > senml.MAX_SIZE
            return
        assert found is None or repr(found) == repr(tuple(general))

    return judge


def enrolment() -> Judge:
    from tidegate import enrolment as module

    return of(
        lambda data: module.decode_request(data).open(),
        lambda data: module.open_answer(data, bytes(32), bytes(16)),
        lambda data: module.parse(data.decode("latin-1")),
    )


def patch() -> Judge:
    from tidegate import delta

    old = bytes(range(256)) * 20
    return of(delta.info, lambda data: delta.apply(old, data))


def mpy() -> Judge:
    from tidegate.image import mpy as module
    from tidegate.image import relink

    return of(module.parse, lambda data: relink.relink_module(data, data))


def frozen() -> Judge:
    from tidegate.image import frozen as module

    return of(lambda data: module.decode(data, "frozen.json"))


def romfs() -> Judge:
    from tidegate.image import romfs as module

    return of(module.files)


def keys() -> Judge:
    from tidegate.trust import external_signer
    from tidegate.trust import keys as module

    return of_file(
        "key.jwk",
        module.load,
        lambda path: module.read_public(path.read_bytes(), "release", "x"),
        lambda path: external_signer._read_signature(path.read_bytes(), "x"),
    )


def certificates() -> Judge:
    from tidegate.trust import certificates as module

    return of_file("cert.pem", module.authorities_der, lambda path: module.load(path, path),
                   lambda path: module.client_der(path, path))  # fmt: skip


def evidence() -> Judge:
    from tidegate.commands import evidence as module

    return of_file("result.proof", lambda path: module.verify(module.load(path), bytes(32)))


def known_devices() -> Judge:
    from tidegate.commands import known_devices as module

    return of_file("known-devices", module.read)


def witness() -> Judge:
    from tidegate import audit_chain as module

    return of_file("witness", module.read, lambda path: module.parse_header(path.read_bytes().decode("latin-1")))


def fleet() -> Judge:
    from tidegate.fleet import file as module

    return of_file("fleet.yaml", module.load_file)


def release() -> Judge:
    from tidegate.release import folder, inspect

    place = Path(tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared()))

    def load(data: bytes) -> None:
        (place / "release.json").write_bytes(data)
        folder.load_release(place)

    def look(data: bytes) -> None:
        (place / "any").write_bytes(data)
        inspect.inspect_file(place / "any")

    return of(load, look)


def answers() -> Judge:
    from tidegate.client import shapes

    names = sorted(
        name
        for module in shapes.MODULES
        for name, kind in vars(module).items()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    )

    def judge(data: bytes) -> None:
        try:
            value = json.loads(data[1:])
        except (ValueError, RecursionError):
            return
        name = names[(data or b"\0")[0] % len(names)]
        if shapes.why_not(value, name) is None:
            shapes.completed(value, name)

    return of(judge)


def board_settings() -> Judge:
    from tidegate.flash import loader_files

    return of_file("config.json", lambda path: loader_files._json(path, "settings"))


def rollout() -> Judge:
    """What people and fleet files write of a rollout, each part alone, and as the API gets them together."""
    from tidegate.errors import TidegateError
    from tidegate.rollout import durations, gate, selector, slo, subject, terms, watch, waves, window

    parts = (selector.parse, waves.parse, window.parse, watch.parse, gate.parse, slo.parse, subject.parse)
    parts = (*parts, lambda text: durations.parse(text, "soak"))

    def each(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        for parse in parts:
            try:
                parse(text)
            except TidegateError as error:
                if not str(error):
                    raise AssertionError("an error without words") from None

    def together(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict):
            terms.parse(value)

    return of(each, together)


def scenario() -> Judge:
    from tidegate.simulate import scenario as module

    return of(lambda data: module.parse(data.decode("utf-8", "replace"), "the scenario"))


def profiles() -> Judge:
    from tidegate import user_folder
    from tidegate.client import profiles as module

    folder = Path(tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared()))
    own_path = user_folder.path

    def read(data: bytes) -> None:
        (folder / module.FILE).write_bytes(data)
        (folder / module.FILE).chmod(0o600)
        user_folder.path = lambda name: folder / name  # type: ignore[assignment]
        try:
            found = module.read()
        finally:
            user_folder.path = own_path
        found.token_for("https://gate.example", None)

    return of(read)


def libraries() -> Judge:
    from tidegate.libraries import lockfile, requirement

    def require(data: bytes) -> None:
        try:
            _ = requirement.Requirement.read(data.decode("utf-8", "replace")).name
        except ValueError as error:
            if not str(error):
                raise AssertionError("an error without words") from None

    def lock(path: Path) -> None:
        found = lockfile.read(path)
        if found:
            lockfile.encode(found)

    judges = (of_file("tidegate.lock", lock), of(require))

    def judge(data: bytes) -> None:
        for one in judges:
            one(data)

    return judge


def device_lists() -> Judge:
    from tidegate.registration import lists

    return of_file("devices", lambda path: lists.read(path, "unix", "p"), lambda path: lists.read(path, None, "p"))


def sbom() -> Judge:
    from tidegate.release import sbom as module
    from tidegate.trust import keys, store

    trusted = store.make([keys.from_seed("release", bytes(range(32)))])
    return of(lambda data: module.verify(b"{}", data, ("p", "1.0.0", 1), trusted))


JWK = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43, "tidegate_role": "release"}).encode()
FLEET = b"groups:\n  pumps:\n    channel: stable\n    devices: [gate-1]\nrollout:\n  share: 10\n"
ROLLOUT = ("durations", "gate", "selector", "slo", "subject", "terms", "watch", "waves", "window")
ROLLOUTS = [
    b"label.site=vienna,board=unix",
    b"1%,10%,50%,100%",
    b"Mon-Fri 09:00-16:00 Europe/Vienna",
    b"heap<10%",
    b"2h",
    b"webhook:2",
    b"1%/30d",
    b'{"to": "all", "gate": "ci", "gate_timeout": "4h"}',
    b'{"to": "group=pumps", "waves": "1%,100%", "soak": "2h", "max_failures": "2%", "watch": ["crashes"]}',
]
PROFILES = b'{"current": "a", "profiles": {"a": {"server": "https://gate.example", "token": "tg_x"}}}'
FROZEN = b'{"board": "qemu_mps2", "modules": {"gate/agent.py": "0011223344556677"}}'
LOCK = b'{"form": 1, "libraries": []}'
SCENARIO = b'seed = 1\n[[phases]]\nkind = "connect"\nseconds = 5\n'
TARGETS = (
    Target("host.cbor", ("tidegate.wire.cbor",), cbor, lambda: hexes("wire", "messages", "senml", most=40)),
    Target("host.cose", ("tidegate.wire.cose",), cose, lambda: hexes("cose", most=30)),
    Target("host.manifest",
           ("tidegate.manifest.envelope", "tidegate.manifest.profile", "tidegate.manifest.data_profile"), manifest,
           lambda: hexes("wire", most=200)[-30:]),
    Target("host.usb", ("tidegate.link.frames", "tidegate.link.relay"), usb,
           lambda: [b"text\r\n\x1eAAAA\n", bytes((2, 1, 0)) + b"\x07\x5bhost.example"]),
    Target("host.data-release", ("tidegate.release.data_release",), data_release,
           lambda: [data for data in hexes("wire", most=200) if len(data) > 120][:6]),
    Target("host.json", ("tidegate.json_text",), json_text, lambda: [b'{"a": [1, 2.5, null, true, "x"]}']),
    Target("host.trust", ("tidegate.trust.store", "tidegate.trust.rotation"), trust,
           lambda: hexes("trust", "rotations", most=40)),
    Target("host.command", ("tidegate.commands.cwt",), command, lambda: hexes("wire_commands", most=25)),
    Target("host.messages", ("tidegate.wire.messages", "tidegate.wire.senml", "tidegate.wire.proofs"), messages,
           lambda: hexes("messages", "senml", most=50)),
    Target("host.telemetry", ("tidegate.wire.senml_usual",), telemetry, lambda: hexes("senml", most=50)),
    Target("host.enrolment", ("tidegate.enrolment",), enrolment, lambda: hexes("enrolment", most=20)),
    Target("host.patch", ("tidegate.delta", "tidegate.delta.container", "tidegate.delta.adaptive",
                          "tidegate.delta.operations", "tidegate.delta.deflate", "tidegate.delta.rangecoder"),
           patch, lambda: hexes("patches", "host_patches", most=25)),
    Target("host.mpy", ("tidegate.image.mpy", "tidegate.image.relink"), mpy,
           lambda: [b"M\x06\x00\x1f\x01\x00\x02x\x00"]),
    Target("host.frozen", ("tidegate.image.frozen",), frozen, lambda: [FROZEN]),
    Target("host.romfs", ("tidegate.image.romfs",), romfs, lambda: __import__("parsers_device").romfs_seeds()),
    Target("host.keys", ("tidegate.trust.keys", "tidegate.trust.external_signer"), keys, lambda: [JWK]),
    Target("host.certificates", ("tidegate.trust.certificates",), certificates,
           lambda: [b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"]),
    Target("host.evidence", ("tidegate.commands.evidence",), evidence,
           lambda: [b'{"version": 1, "command": "a0", "result": "a0", "device": "gate-1"}']),
    Target("host.known-devices", ("tidegate.commands.known_devices",), known_devices,
           lambda: [b'{"version": 1, "devices": [{"server": "http://127.0.0.1:8080", "id": "gate-1", "name": "a",'
                    b' "key": null, "first_seen": "", "claim": null}]}']),
    Target("host.witness", ("tidegate.audit_chain",), witness,
           lambda: [b'{"id": 1, "hash": "' + b"0" * 64 + b'"}\n', b"1 " + b"0" * 64]),
    Target("host.fleet", ("tidegate.fleet.file",), fleet, lambda: [FLEET]),
    Target("host.release", ("tidegate.release.folder", "tidegate.release.inspect"), release,
           lambda: [b'{"product": "p", "vendor": "v.example", "version": "1", "sequence": 1, "boards": {}}',
                    *hexes("wire", most=8)]),
    Target("host.answers", ("tidegate.client.shapes",), answers,
           lambda: [b'\x04{"id": "gate-1", "name": null}', b'\x05{"devices": []}']),
    Target("host.rollout", tuple(f"tidegate.rollout.{name}" for name in ROLLOUT), rollout, lambda: ROLLOUTS),
    Target("host.profiles", ("tidegate.client.profiles",), profiles,
           lambda: [PROFILES, b'{"current": [], "profiles": {}}']),
    Target("host.libraries", ("tidegate.libraries.lockfile", "tidegate.libraries.requirement"), libraries,
           lambda: [LOCK, b"aioble@0.6.1", b"github:user/lib@v1.2", b"./lib"]),
    Target("host.device-lists", ("tidegate.registration.lists",), device_lists,
           lambda: [b"id,board,product\ngate-1,unix,p\n", b'{"id": "gate-1", "board": "unix"}\n']),
    Target("host.sbom", ("tidegate.release.sbom",), sbom, lambda: hexes("cose", most=10)),
    Target("host.scenario", ("tidegate.simulate.scenario",), scenario, lambda: [SCENARIO]),
    Target("host.board-settings", ("tidegate.flash.loader_files",), board_settings, lambda: [b'{"a": 1}']),
)  # fmt: skip
