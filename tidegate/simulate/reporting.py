"""The reports of a simulated board's updates, as a board says them (docs/reports.md)."""

from __future__ import annotations

import asyncio

from tidegate.simulate.device import Device
from tidegate.wire import messages

# phase -> state and result of LwM2M object 5 that a board says with it
_LWM2M = {
    "offered": ("downloading", "initial"),
    "fetching": ("downloading", "initial"),
    "applying": ("downloaded", "initial"),
    "installed": ("updating", "initial"),
    "trial": ("updating", "initial"),
    "confirmed": ("idle", "success"),
    "current": ("idle", "success"),
    "rolled-back": ("idle", "update-failed"),
    "refused": ("idle", "unsupported-package"),
    "failed": ("idle", "connection-lost"),
}
Failure = tuple[int, str, str]  # code, SUIT's reason, and words for people


def report(
    device: Device,
    phase: str,
    *,
    digest: bytes | None = None,
    sequence: int = 0,
    detail: str | None = None,
    failure: Failure | None = None,
    component: str | None = None,
    done: asyncio.Event | None = None,
) -> None:
    """digest, sequence: of the manifest, where it could be read; component: of data, and not of the image; done: set
    when the broker has it. After the end of an update the board announces itself again."""
    state, result = _LWM2M[phase]
    numbers = [messages.LWM2M_STATES.index(state), messages.LWM2M_RESULTS.index(result)]
    if component is None:
        device.update_state, device.update_result = numbers
    said = messages.encode(
        "report",
        nonce=device.nonce,
        verdict=True if failure is None else {5: failure[0], 7: messages.SUIT_REASONS.index(failure[1])},
        manifest=None if digest is None else [[-16, digest]],
        lwm2m=numbers,
        phase=messages.phase_number(phase),
        sequence=sequence,
        detail=detail or (failure[2] if failure else None),
        component=component,
    )
    device.figures.counts[f"reported {phase}"] += 1
    device.say("report", "report", said, done)
    if state == "idle":
        device.announce()
