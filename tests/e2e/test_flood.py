"""A thousand messages a second on everything that a board reads, by somebody who took the broker over: the board goes
on with its telemetry, answers who has the keys, takes an update, and is as it was when the flood is over.

Ground: the emulated Cortex-M3, with a proxy between it and its broker (support/flooding_proxy.py).
TIDEGATE_FULL=1 makes each flood a minute long.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flooding_proxy import FloodingProxy
from lab import Installation
from shared_board import BOARD, CHANGES, DEVICE

from tidegate.commands import cwt
from tidegate.commands.cwt import Command
from tidegate.trust import keys

FULL = bool(os.environ.get("TIDEGATE_FULL"))
RATE = 1000  # messages a second
LONG_S = 60 if FULL else 15
USUAL_S = 15  # of telemetry without a flood
ANSWER_S = 30
HEAP_MORE = 1024  # bytes that the heap may hold more after it than before
CALM_S = 130  # a flood is over after a minute without, which is looked at once a minute
Message = tuple[str, bytes, int]


@dataclass
class Place:
    """An installation whose board talks to its broker through the proxy, and what the board did before any flood."""

    made: Installation
    proxy: FloodingProxy
    telemetry: float = 0.0  # messages a second
    heap: int = 0  # bytes in use

    def now(self) -> float:
        """Seconds of the board's time. A starved emulator is slow by every other clock, and the board is not."""
        return self.made.boards[0].emulator.uptime_s()  # type: ignore[union-attr]

    def wait(self, what: str, check: Callable[[], Any], most_s: float) -> Any:
        """The first true value of `check`, and the board's seconds until then; at most `most_s` of them."""
        began = self.now()
        while not (found := check()):
            assert self.now() - began < most_s, f"{what} did not come within {most_s} s of the board's time"
            time.sleep(0.1)
        return found, self.now() - began

    def sleep(self, seconds: float) -> None:
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            time.sleep(min(left, 0.5))

    def rate(self, seconds: float) -> float:
        """Messages of telemetry a second, over so many."""
        began, noted = self.now(), len(self.proxy.published)
        self.sleep(seconds)
        return self.proxy.count("/up/tele/", noted) / (self.now() - began)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Installation(tmp_path_factory.mktemp("flood") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        proxy = FloodingProxy(made.mqtt_port, board.emulator.uptime_s)
        config = made.folder / f"{DEVICE}.config.json"
        settings = json.loads(config.read_text())
        settings["mqtt"]["port"] = proxy.port
        settings["telemetry_period_s"] = 1
        config.write_text(json.dumps(settings))
        made.flash(board, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 90)
        place = Place(made, proxy)
        # The first of each kind loads native code, which stays; the measurements begin after it.
        proxy.flood(forged_offers(place), RATE)
        place.sleep(3)
        proxy.stop()
        place.sleep(5)  # what is on its way, and what waits to be sent
        place.telemetry = place.rate(USUAL_S)
        place.heap = min(ask(place, "info")[0]["heap_used"] for _ in range(4))
        yield place
        proxy.close()


def request(place: Place, opcode: str, key: Any, counter: int | None = None) -> bytes:
    now = int(time.time())
    file = place.made.key("command")
    cti = cwt.next_counter(file) if counter is None else counter.to_bytes(8, "big")
    nonce = bytes.fromhex(place.made.api.device(DEVICE)["nonce"])
    return cwt.make([key], Command(DEVICE, opcode, {}, cti, now, now + 600, nonce))


def ask(place: Place, opcode: str) -> tuple[dict[str, Any], float]:
    """The answer to a signed command, and the seconds it took."""
    message = request(place, opcode, keys.load(place.made.key("command")))
    cti = place.made.api.send_command(DEVICE, message)["cti"]

    def ended() -> dict[str, Any] | None:
        found = place.made.api.command(cti)
        return None if found["state"] in ("pending", "verified", "uplinked") else found

    found, took = place.wait(f"an answer to {opcode}", ended, 4 * ANSWER_S)
    assert found["outcome"] == "done", found
    return dict(found["result"].get("answer") or {}), took


def forged(message: bytes, chance: random.Random) -> bytes:
    """The same message, signed by nobody: one bit of its last 60 bytes, the signature, is another."""
    data = bytearray(message)
    data[-1 - chance.randrange(60)] ^= 1 << chance.randrange(8)
    return bytes(data)


def junk(place: Place) -> Callable[[], Message]:
    """Of every size, on every topic, known and unknown, QoS 0 and 1."""
    chance = random.Random(1)
    topics = ("cmd", "offer", "trust", "offer/calibration", "nothing", "cmd/x")
    heads = (b"", b"\xd2\x84", b"\xd8\x62", b"\xd8\x6b\xa2\x02", b"{", b"\x30\x82")

    def make() -> Message:
        payload = chance.choice(heads) + chance.randbytes(chance.choice((0, 1, 20, 200, 700, 1500, 2700)))
        return f"tg/{DEVICE}/down/{chance.choice(topics)}", payload, chance.randrange(2)

    return make


def forged_commands(place: Place) -> Callable[[], Message]:
    """Each another one under the real key's id, for this device and boot: they differ from a genuine one by the
    signature alone."""
    chance = random.Random(2)
    key = keys.load(place.made.key("command"))
    now = time.time_ns() // 1000
    counters = [now + 997 * number for number in range(40)] + [2**63 + number for number in range(40)]
    made = [request(place, "reboot", key, counter) for counter in counters]
    return lambda: (f"tg/{DEVICE}/down/cmd", forged(chance.choice(made), chance), chance.randrange(2))


def forged_offers(place: Place) -> Callable[[], Message]:
    """Real envelopes with a bit of the signature or of the manifest changed, as offers, data and trust stores."""
    chance = random.Random(3)
    envelope = (place.made.release("1.0.0") / f"{BOARD}.suit").read_bytes()
    at = envelope.index(b"\x58\x40") + 2
    topics = itertools.cycle(("offer", "offer", "offer/calibration", "trust"))

    def make() -> Message:
        data = bytearray(envelope)
        data[at + chance.randrange(64) if chance.randrange(2) else chance.randrange(len(data))] ^= (
            1 << chance.randrange(8)
        )
        return f"tg/{DEVICE}/down/{next(topics)}", bytes(data), chance.randrange(2)

    return make


FLOODS = (junk, forged_commands, forged_offers)


@pytest.mark.parametrize("source", FLOODS, ids=lambda source: source.__name__)
def test_a_flood_does_not_silence_the_board(place: Place, source: Any) -> None:
    proxy, board = place.proxy, place.made.boards[0]
    make = source(place)
    lines, connections, noted = len(board.lines), proxy.connections, len(proxy.published)
    sent, dropped, host = proxy.sent, proxy.dropped, time.monotonic()
    began = place.now()
    proxy.flood(make, RATE)
    place.sleep(2)
    before, since, took = place.now(), len(proxy.published), []
    while place.now() < began + LONG_S:
        took.append(ask(place, "ping")[1])
        place.sleep(3)
    rate = proxy.count("/up/tele/", since) / (place.now() - before)
    lasted = place.now() - began
    proxy.stop()
    other = {name: proxy.count(f"/up/{name}", noted) for name in ("report", "alarm", "birth", "state")}
    printed = len(board.lines) - lines
    sent, dropped = proxy.sent - sent, proxy.dropped - dropped
    print(
        f"{source.__name__}: {sent} sent, {dropped} dropped in {lasted:.0f} s of the board's time, "
        f"{time.monotonic() - host:.0f} s of the machine's; telemetry {place.telemetry:.2f} -> {rate:.2f} a second; "
        f"answers after {', '.join(f'{one:.1f}' for one in took)} s; {other}, {printed} lines"
    )
    assert sent > 0.8 * RATE * lasted, "the board did not take them"
    assert rate >= 0.8 * place.telemetry
    assert max(took) <= ANSWER_S
    assert proxy.connections == connections
    assert other["birth"] <= 4 and other["report"] <= 40 and other["alarm"] <= 24, other
    assert printed < 200


def test_the_heap_is_what_it_was_when_the_floods_are_over(place: Place) -> None:
    def held() -> int:
        return int(min(ask(place, "info")[0]["heap_used"] for _ in range(4)))

    place.sleep(60)  # a flood goes on for so long in any case
    place.wait("the heap of before", lambda: held() <= place.heap + HEAP_MORE, CALM_S - 60)


def test_an_offer_is_answered_in_a_flood_and_carried_out(place: Place) -> None:
    made, proxy = place.made, place.proxy
    made.change(CHANGES / "1.1.0.diff")
    made.build("1.1.0", 2, "1.0.0")
    proxy.flood(forged_offers(place), RATE)
    try:
        place.sleep(5)
        last = made.last_report(DEVICE)
        made.publish("1.1.0")
        _, took = place.wait(
            "a report of the offer",
            lambda: any(one["phase"] == "offered" for one in made.reports(DEVICE, last)),
            4 * ANSWER_S,
        )
        print(f"offered after {took:.1f} s")
    finally:
        proxy.stop()
    made.wait_running(DEVICE, "1.1.0", 400)
    assert took <= ANSWER_S
