"""Links any number of boards, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tidegate.link.addresses import Allowed
from tidegate.link.port import Port
from tidegate.link.relay import Relay

CHECK_S = 1.0
TRAFFIC_S = 5  # checks, while bytes are moved

Event = Callable[[str, str, Mapping[str, Any]], None]  # port, what, facts


async def link(names: list[str], allowed: Allowed, event: Event) -> None:
    """Links the boards at these ports until it is cancelled. event: told what happens at each."""
    ends = [_End(name, allowed, event) for name in names]
    try:
        for end in ends:
            end.port.start()
        while True:
            await asyncio.sleep(CHECK_S)
            for end in ends:
                end.check()
    finally:
        for end in ends:
            await asyncio.to_thread(end.port.stop)
            await end.relay.close()


class _End:
    """A board's relay and its port, whose threads call into the event loop."""

    def __init__(self, name: str, allowed: Allowed, event: Event):
        loop = asyncio.get_running_loop()

        def report(what: str, facts: Mapping[str, Any]) -> None:
            event(name, what, facts)

        def lost(why: str) -> None:
            self.relay.lost("the port is gone")
            report("no-port", {"why": why})

        def call(function: Callable[..., None], *values: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(function, *values)

        self.port = Port(
            name,
            lambda data: call(self.relay.feed, data),
            lambda: call(report, "waiting", {}),
            lambda why: call(lost, why),
        )
        self.relay = Relay(allowed, self.port.write, report)
        self._report = report
        self._checks = 0
        self._traffic = (0, 0)

    def check(self) -> None:
        self.relay.check()
        self._checks += 1
        traffic = self.relay.traffic
        if self._checks % TRAFFIC_S == 0 and traffic != self._traffic:
            self._traffic = traffic
            self._report("traffic", {"up": traffic[0], "down": traffic[1]})
