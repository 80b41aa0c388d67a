"""A soak of the emulated board: telemetry as fast as the link takes it, the broker restarted again and again, commands.

A small application counts when it is told to. Every number must be filed once and in order or be reported as dropped,
and the heap must end where it began. TIDEGATE_FULL=1 does it at full length.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab import Installation
from shared_board import DEVICE

from tidegate.commands import cwt
from tidegate.trust import keys

pytestmark = pytest.mark.soak
FULL = bool(os.environ.get("TIDEGATE_FULL"))
MESSAGES, KILLS, COMMANDS = (20_000, 12, 200) if FULL else (500, 2, 10)
WARM_UP = 100
AWAY_S = (0.2, 4.0)  # how long the broker is away: up to what fills the queue in RAM eight times
STALL_S = 120  # without anything new filed
HEAP_MORE = 1024  # bytes that the heap may hold more at the end than at the beginning
APPLICATION = '''"""Counts from 1 as far as it was told, one message each."""

import gc

from gate.agent import Agent
from gate.commands.application_opcodes import OPERATE, READ, opcode
from gate.telemetry.streams import Measure, Stream

_count = [0, 0]  # so far, and where it ends


def count():
    if _count[0] >= _count[1]:
        return None
    _count[0] += 1
    return _count[0]


@opcode("go", OPERATE, messages=(int, 1, 100000))
def go(call, messages):
    _count[1] += messages
    return {"until": _count[1]}


@opcode("largest", READ)
def largest(call):
    """The largest piece that can be allocated, to 64 bytes."""
    gc.collect()
    low, high = 0, gc.mem_free()
    while high - low > 64:
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
        gc.collect()
    return {"bytes": low}


def start(boot):
    stream = Stream("soak", Measure("n", "count", count), period_ms=20)
    Agent(boot, (stream,)).run()
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with mosquitto, and a board that counts."""
    with Installation(tmp_path_factory.mktemp("e2e") / "place", broker="mosquitto") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(APPLICATION)
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        config = made.folder / f"{DEVICE}.config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"store": {"write_s": 1}}))
        made.flash(board, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 60)
        yield made


class Filed:
    """The numbers that the server filed, in the order it did."""

    def __init__(self, place: Installation):
        self._place = place
        self._row = 0
        self.numbers: list[int] = []

    def look(self) -> int:
        """How many there are."""
        while rows := self._place.api.telemetry_after(DEVICE, {"stream": "soak", "name": "n"}, self._row):
            self._row = rows[-1]["id"]
            self.numbers += [int(row["value"]) for row in rows]
        return len(self.numbers)

    def wait(self, last: int) -> None:
        """Until the number `last`, or one above it, is there. A LabError if nothing comes for STALL_S."""
        while not (self.look() and self.numbers[-1] >= last):
            seen = len(self.numbers)
            self._place.wait(f"a number after {self.numbers[-1:]}", lambda seen=seen: self.look() > seen, STALL_S)


def ask(place: Installation, opcode: str, **arguments: object) -> dict[str, Any]:
    """The device's answer to a signed command, sent as `tidegate cmd send` does."""
    file = place.key("command")
    now = int(time.time())
    request = cwt.Command(
        audience=DEVICE,
        opcode=opcode,
        arguments=arguments,
        cti=cwt.next_counter(file),
        issued=now,
        expires=now + 300,
        nonce=bytes.fromhex(place.api.device(DEVICE)["nonce"]),
    )
    place.api.send_command(DEVICE, cwt.make([keys.load(file)], request))

    def ended() -> dict[str, Any] | None:
        told = place.api.command(request.cti.hex())
        return None if told["state"] in ("pending", "verified", "uplinked") else told

    told = place.wait(f"an answer to {opcode}", ended, 60)
    assert told["outcome"] == "done", told
    return told["result"]["answer"]


def heap(place: Installation) -> tuple[int, int]:
    """(bytes in use, largest free piece) when nothing is on its way.

    The least of several answers: the first loads what it needs, and one in ten says 4 KiB more, gone by the next.
    """
    used = [ask(place, "info")["heap_used"] for _ in range(5)]
    return min(used), ask(place, "largest")["bytes"]


def test_telemetry_by_the_thousand_while_the_broker_restarts(place: Installation, record_property) -> None:
    seed = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"seed {seed} (TIDEGATE_SEED={seed} repeats the moments)")
    record_property("seed", seed)
    moments = random.Random(seed)
    filed = Filed(place)
    away = soak(place, filed, WARM_UP, 1, moments)
    began, room = heap(place)

    start = time.monotonic()
    away += soak(place, filed, MESSAGES, KILLS, moments)
    took = time.monotonic() - start
    ended, room_left = heap(place)
    dropped = ask(place, "info")["packs_dropped"]
    (stream,) = place.api.telemetry_last(DEVICE, {"stream": "soak"})["streams"]
    print(
        f"{MESSAGES} messages in {took:.0f} s, {KILLS} restarts, {away:.0f} s without a broker; {dropped} dropped, "
        f"{stream['repeated']} came twice; heap {began} -> {ended} B, largest free {room} -> {room_left} B"
    )
    missing = set(range(1, WARM_UP + MESSAGES + 1)) - set(filed.numbers)
    assert len(missing) == dropped == stream["dropped"], f"lost: {sorted(missing)[:20]}"
    assert filed.numbers == sorted(set(filed.numbers)), "in order, once each"
    assert ended <= began + HEAP_MORE


def soak(place: Installation, filed: Filed, messages: int, kills: int, moments: random.Random) -> float:
    """So many messages, the broker stopped so many times in between; seconds it was away. Stopped, not killed: what a
    killed mosquitto has acknowledged in its last moments and not saved is gone, and nobody can tell."""
    assert place.mosquitto is not None
    until = ask(place, "go", messages=messages)["until"]
    away = 0.0
    for kill in range(kills):
        filed.wait(until - messages + int((kill + moments.uniform(0.2, 0.8)) * messages / kills))
        place.mosquitto.stop()
        pause = moments.uniform(*AWAY_S)
        time.sleep(pause)
        away += pause
        place.mosquitto.start()
    filed.wait(until)
    return away


def test_commands_leave_the_heap_as_it_was(place: Installation) -> None:
    """What verifies them is loaded for each anew, and let go of."""
    began, room = heap(place)
    used = [ask(place, "info")["heap_used"] for _ in range(COMMANDS)]
    ended, room_left = heap(place)
    print(
        f"{COMMANDS} commands; heap {began} -> {ended} B, in between {min(used)} to {max(used)}, half of them below "
        f"{sorted(used)[COMMANDS // 2]}; largest free {room} -> {room_left} B"
    )
    assert ended <= began + HEAP_MORE
    assert sorted(used)[COMMANDS // 2] <= began + HEAP_MORE
