"""Parsers of the device, run on CPython; test_fuzz.py of the device runs the signed ones on MicroPython."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cbor2
from parsers import Judge, Target, device_path, hexes, shared

CONFIG = (
    b'{"device": "gateway-1", "product": "p", "vendor": "tidegate.example", "board": "b", "uplink": "both",'
    b' "mqtt": {"host": "h", "port": 1883, "tls": true}, "coap": {"host": "c"}, "payloads": "http://s:80/",'
    b' "streams": {"air": {"period_ms": 1000, "window": 4, "over": {"t": 1.5}}}, "store": {"segments": 4},'
    b' "log_level": "error", "telemetry_period_s": 60, "trial_timeout_s": 60, "dangerous": false, "clock": true}'
)


def judged(name: str) -> Callable[[], Judge]:
    """A target of the device's own mutation fuzzer: the first byte chooses what is known of the input."""

    def make() -> Judge:
        device_path()
        import fuzz_targets

        target = fuzz_targets.TARGETS[name]()
        target.seeds = target.seeds[:200]

        def judge(data: bytes) -> None:
            seed, known = target.seeds[(data[0] if data else 0) % len(target.seeds)]
            target.judge(data[1:], known, seed)

        return judge

    return make


def seeds_of(name: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        device_path()
        import fuzz_targets

        found = fuzz_targets.TARGETS[name]().seeds[:200]
        chosen = sorted(enumerate(found), key=lambda one: len(one[1][0]))[:25]
        return [bytes([number]) + data for number, (data, _) in chosen]

    return seeds


def usb() -> Judge:
    """What comes on a serial line whose host has a session and a connection: bytes, and frames that are whole."""
    device_path()
    from gate.link import usb as module
    from gate.link import usb_frames as frames
    from gate.link.usb_socket import Socket

    module.console.set_level(module.console.ERROR)  # it would say each time that it is linked

    class Port:
        def send(self, frame: bytes) -> None:
            if frames.unpack(frame[1:-1]) is None:
                raise AssertionError("it says what is no frame")

    def judge(data: bytes) -> None:
        line = module.Line(Port(), lambda count: bytes(count))
        line.take(frames.WELCOME, 1, 0, 1, bytes(4))
        line._sockets[1] = s = Socket(line, 1, "h", 80)
        lines = frames.Lines()
        for byte in data:
            found = lines.feed(byte)
            if found:
                line.take(*found)
        for at in range(0, len(data) - 2, 40):
            line.take(data[at] % 9, 1, data[at + 1] % 3, data[at + 2] % 4, data[at + 3 : at + 40])
            with contextlib.suppress(OSError):
                s.readinto(bytearray(7))
            with contextlib.suppress(OSError):
                s.write(b"ab")
            s.tick()

    return judge


def usb_seeds() -> list[bytes]:
    device_path()
    from gate.link import usb_frames as frames

    return [frames.pack(kind, 1, 1, 0, b"abc") for kind in range(1, 8)] + [bytes((4, 1, 0)), bytes((5, 1, 0)) + b"x"]


def needs() -> Judge:
    """What a release needs: the map in the text of a manifest that a release key signed."""
    device_path()
    from gate.update import needs as judged_by
    from gate.update.failures import Failure

    def judge(data: bytes) -> None:
        text = b"\xa1\x62en\xa1\x81\x44next" + data[:1500]
        members = cbor2.dumps({23: text})
        with contextlib.suppress(Failure):
            judged_by.check(cbor2.dumps(cbor2.CBORTag(107, {2: b"", 3: members})), 5)

    return judge


def needs_seeds() -> list[bytes]:
    maps = ({6: "1.0"}, {6: "1.0", -1: 5, -2: "1.25"}, {6: "1.0", -1: 6}, {-2: "99.0.1"}, {-3: 7200}, {-2: "x.y"})
    return [cbor2.dumps(one) for one in maps]


def mqtt() -> Judge:
    device_path()
    from mqtt import packet, v5

    def judge(data: bytes) -> None:
        stop = packet.parse_publish(data, (data or b"\0")[0] & 6, 1, len(data))
        if stop and stop > len(data):
            raise AssertionError("a topic that goes beyond its packet")
        packet.is_topic(data)
        packet.is_topic(data, True)
        try:
            v5.decode(data, 0, len(data), v5._TYPES)
        except packet.MqttError:
            pass

    return judge


def coap() -> Judge:
    device_path()
    from coap import block, message

    found = message.Message()

    def judge(data: bytes) -> None:
        body = block.Body(None, 0, 4096, None, 6, False)
        upload = block.Upload(lambda at, limit: bytes(16), 4096, 2, block.Body(None, 0, 4096, None, 6, False))
        # Datagrams one after the other, each with its length before it.
        at = 0
        while at < len(data):
            size = data[at]
            datagram = bytearray(data[at + 1 : at + 1 + size])
            at += 1 + size
            if found.decode(datagram, len(datagram)):
                continue
            found.token(), found.values(), found.uint(23), bytes(found.payload())
            for one in (body, upload):
                try:
                    one.take(found)
                except block.CoapError:
                    pass

    return judge


def http() -> Judge:
    device_path()
    from http_client import get, redirect

    class Stream:
        def __init__(self, data: bytes):
            self._data = data

        async def write(self, data) -> None:
            pass

        async def readinto(self, view) -> int:
            piece = self._data[: min(len(view), 61)]
            self._data = self._data[len(piece) :]
            view[: len(piece)] = piece
            return len(piece)

    def follow(moved) -> None:
        try:
            host, port, path = redirect.target(moved, "h", 80, "/a/b", False)
        except get.HttpError:
            return
        if not host or not 0 < port < 65536 or not path.startswith("/"):
            raise AssertionError(f"led to {host}:{port}{path}")

    def judge(data: bytes) -> None:
        offset = data[0] if data else 0
        transfer = get.Transfer(Stream(data[1:]), bytearray(1024), 1000)
        taken = []
        run = transfer.run(b"GET", offset, lambda view: taken.append(len(view)), 4096)
        try:
            run.send(None)
            raise AssertionError("it waits for nothing")
        except StopIteration as done:
            at, _, moved = done.value
            if at != offset + sum(taken):
                raise AssertionError(f"{at} bytes are said, {sum(taken)} came") from None
            if moved is not None:
                follow(moved)
        except get.HttpError:
            if sum(taken) > 4096:
                raise AssertionError("more bytes than allowed") from None

    return judge


def config() -> Judge:
    device_path()
    from gate.settings.config import Config, ConfigError

    folder = tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared())
    Path(folder, "credentials.json").write_text('{"user": "u", "password": "p", "coap_key": "' + "00" * 32 + '"}')
    file = Path(folder, "config.json")

    def judge(data: bytes) -> None:
        file.write_bytes(data)
        try:
            Config(folder, "b")
        except ConfigError as error:
            if not str(error):
                raise AssertionError("an error without words") from None

    return judge


def overrides() -> Judge:
    device_path()
    import cbor
    from gate.files import SmallFiles
    from gate.settings import overrides as module
    from gate.telemetry.streams import Measure, Stream

    folder = tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared())
    Path(folder, "config.json").write_bytes(CONFIG)
    Path(folder, "credentials.json").write_text('{"user": "u", "password": "p", "coap_key": "' + "00" * 32 + '"}')
    state = SmallFiles(folder + "/state")
    stream = Stream("air", Measure("t", "Cel", lambda: 1, 10))

    class Agent:
        boot = type("Boot", (), {"board": type("Board", (), {"name": "b", "folder": folder})})
        streams = (stream,)
        link = type("Link", (), {"refresh": staticmethod(lambda: None)})
        telemetry = restart_wanted = settings = None
        own_settings = ()

    Agent.state = state
    module._apply = lambda agent, config: None

    def judge(data: bytes) -> None:
        # As a file that an older release, or age, left there, and as what a command brings.
        state.write(module.FILE, data)
        module.configure(Agent.boot.board, state, Agent.streams)
        state.remove(module.FILE)
        try:
            given = cbor.loads(data, 1024)
        except cbor.CborError:
            return
        if isinstance(given, dict) and all(isinstance(key, str) for key in given):
            try:
                module.change(Agent, given)
            except module.SettingError:
                pass

    return judge


def claim() -> Judge:
    device_path()
    from gate.enrolment.claim import Claim, Refused

    text = "tgc1_" + "ab" * 8 + "_" + "A" * 43 + "_" + "cd" * 16
    good = Claim(text)

    def judge(data: bytes) -> None:
        try:
            Claim(data.decode("latin-1"))
        except ValueError:
            pass
        try:
            good.open(data, bytes(16), None)
        except Refused:
            pass

    return judge


def dns() -> Judge:
    device_path()
    from gate.commands.ops import dns as module

    def judge(data: bytes) -> None:
        try:
            module.parse(data, 12, "server", "host")
        except module.NameFailure:
            pass

    return judge


def record() -> Judge:
    device_path()
    from boot import record as module

    def judge(data: bytes) -> None:
        data = data[: module._SIZE - 4].ljust(module._SIZE - 4, b"\0")
        found = module._unpack(data + struct.pack("<I", zlib.crc32(data)))
        if found:
            if found.running >= module.SLOTS:
                raise AssertionError("a slot that there is not")
            module._pack(found)

    return judge


def romfs() -> Judge:
    device_path()
    from boot import romfs as module

    class Image:
        def __init__(self, data: bytes):
            self._data = data
            self.size = len(data)

        def readinto(self, offset, buf):
            piece = self._data[offset : offset + len(buf)]
            if len(piece) != len(buf):
                raise OSError(5)
            buf[:] = piece

    def walk(files, path: str, depth: int) -> None:
        for entry in list(files.ilistdir(path))[:64]:
            inner = path + "/" + entry[0]
            files.stat(inner)
            if entry[1] & 0x4000 and depth < 5:
                walk(files, inner, depth + 1)
            elif not entry[1] & 0x4000:
                with files.open(inner, "rb") as file:
                    file.read(512)

    def judge(data: bytes) -> None:
        try:
            walk(module.FileSystem(Image(data)), "/", 0)
        except (OSError, UnicodeError):
            pass

    return judge


def ring() -> Judge:
    device_path()
    from gate.telemetry import ring_recovery

    folder = tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared())
    names = ("a", "b", "0", "1")

    def judge(data: bytes) -> None:
        for name in os.listdir(folder):
            os.remove(folder + "/" + name)
        cut = len(data) // 2
        cursor = data[:20].ljust(20, b"\0")
        from gate.telemetry import ring as module

        name = module.CURSORS[(data or b"\0")[0] & 1]
        Path(folder, name).write_bytes(cursor + struct.pack("<I", zlib.crc32(cursor)))
        for name, piece in zip(names[2:], (data[20:cut], data[cut:]), strict=True):
            Path(folder, name).write_bytes(piece)
        found = ring_recovery.open_ring(folder)
        buf = memoryview(bytearray(1024))
        for _ in range(20):
            if not found.read(buf, 0):
                break
            found.done()

    return judge


def calibration() -> Judge:
    device_path()
    from gate.telemetry import calibration as module
    from gate.telemetry.streams import Measure, Stream, make_curve

    folder = tempfile.mkdtemp(prefix="tidegate-fuzz-", dir=shared())
    path = folder + "/table"
    stream = Stream("air", Measure("t", "Cel", lambda: 1, 10))

    def judge(data: bytes) -> None:
        Path(path).write_bytes(data)
        try:
            module.use(path, [stream], make_curve)
        except ValueError:
            pass
        finally:
            module.use(None, [stream], make_curve)

    return judge


def options() -> Judge:
    device_path()
    from boot import options as module

    class Board:
        folder = tempfile.mkdtemp(prefix="tidegate-fuzz-")
        slots = "rom"

        @staticmethod
        def rom_size() -> int:
            return 1

    def judge(data: bytes) -> None:
        Path(Board.folder, "boot.json").write_bytes(data)
        try:
            module.read(Board)
        except module.OptionsError:
            pass

    return judge


def romfs_seeds() -> list[bytes]:
    def number(value: int) -> bytes:
        found = bytes([value & 127])
        while value := value >> 7:
            found = bytes([value & 127 | 128]) + found
        return found

    def one(kind: int, content: bytes) -> bytes:
        return number(kind) + number(len(content)) + content

    file = one(5, number(5) + b"a.mpy" + one(2, b"content"))
    folder = one(4, number(3) + b"lib" + file)
    content = folder + file
    return [b"\xd2\xcd\x31" + number(len(content)) + content]


def record_seeds() -> list[bytes]:
    return [struct.pack("<4s8BII", b"TGBR", 1, 0, trial, 0, 0, 0, 0, 0, 7, 3) + bytes(88) for trial in (0xFF, 1)]


def datagrams(*given: bytes) -> list[bytes]:
    return [b"".join(bytes([len(data)]) + data for data in given)]


assert asyncio  # imported before the device's clock stands in for it
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
PART = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 2-3/4\r\n\r\ndy"
TARGETS = (
    Target("device.cbor", ("cbor", "cbor.floats"), judged("cbor"), seeds_of("cbor")),
    Target("device.cose", ("cose",), judged("cose"), seeds_of("cose")),
    Target("device.needs", ("gate.update.needs",), needs, needs_seeds),
    Target("device.envelope", ("gate.update.suit_envelope", "gate.update.suit_processor", "gate.update.plan"),
           judged("envelope"), seeds_of("envelope")),
    Target("device.trust-store", ("gate.trust.store",), judged("trust-store"), seeds_of("trust-store")),
    Target("device.trust-update", ("gate.trust.verify_rotation", "gate.trust.rotation"), judged("trust-update"),
           seeds_of("trust-update")),
    Target("device.command", ("gate.commands.verify", "gate.commands.queue"), judged("command"), seeds_of("command")),
    Target("device.telemetry", ("senml_cbor.reader",), judged("telemetry"), seeds_of("telemetry")),
    Target("device.patch", ("bspatch", "bspatch.adaptive", "bspatch.start", "bspatch.plain", "bspatch.out"),
           judged("patch"), seeds_of("patch")),
    Target("device.mqtt", ("mqtt.packet", "mqtt.v5"), mqtt,
           lambda: [b"\x00\x03a/bx", b"\x02\x00\x03a/b\x00\x01x", b"\x05\x11\x00\x00\x00\x05", b"\x03\x22\x00\x08"]),
    Target("device.coap", ("coap.message", "coap.block"), coap,
           lambda: datagrams(b"\x60\x45\x00\x01\xd1\x0a\x0a\xffpayload", b"\x60\x5f\x00\x02\xd1\x0e\x0a")),
    Target("device.http", ("http_client.get",), http, lambda: [b"\0" + ANSWER, b"\2" + PART]),
    Target("device.usb", ("gate.link.usb", "gate.link.usb_frames", "gate.link.usb_socket"), usb, usb_seeds),
    Target("device.config", ("gate.settings.config",), config, lambda: [CONFIG]),
    Target("device.overrides", ("gate.settings.overrides",), overrides, lambda: [b"\xa1\x69log_level\x64info"]),
    Target("device.claim", ("gate.enrolment.claim",), claim,
           lambda: [b"tgc1_" + b"ab" * 8 + b"_" + b"A" * 43 + b"_" + b"cd" * 16, *hexes("enrolment", most=12)]),
    Target("device.dns", ("gate.commands.ops.dns",), dns,
           lambda: [bytes.fromhex("000181800001000100000000c00c00010001000000050004c0000201")]),
    Target("device.record", ("boot.record",), record, record_seeds),
    Target("device.romfs", ("boot.romfs",), romfs, romfs_seeds),
    Target("device.options", ("boot.options",), options, lambda: [b'{"slots": "rom", "verify": "digest"}']),
    Target("device.ring", ("gate.telemetry.ring", "gate.telemetry.ring_recovery"), ring, lambda: [bytes(80)]),
    Target("device.calibration", ("gate.telemetry.calibration", "gate.telemetry.streams"), calibration,
           lambda: [b'{"t": [[0, 0], [10, 9.5]]}']),
)  # fmt: skip
