"""Commands as a simulated board takes them: decoded strictly, each once, answered and, if that is wanted, signed."""

from __future__ import annotations

import hashlib
from typing import Any

from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.simulate.device import Device
from tidegate.wire import messages, proofs


class Answering:
    """Commands of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._last = b""  # counter of the last one, as a board stores it

    def asked(self, message: bytes) -> None:
        device = self._device
        try:
            command = cwt.decode(message)[0]
        except Refused:
            device.figures.counts["commands refused"] += 1
            return
        if command.audience != device.id or command.cti <= self._last:
            device.figures.counts["commands refused"] += 1
            return
        self._last = command.cti
        answer: dict[str, Any] = {"simulated": True, "uptime_s": int(device.dice.random() * 1000)}
        said = messages.encode("result", cti=command.cti, code=0, answer=answer)
        if command.prove:
            proof = proofs.ResultProof(
                public=device.public,
                device=device.id,
                nonce=device.nonce,
                command=hashlib.sha256(message).digest(),
                answer=hashlib.sha256(said).digest(),
            )
            signed = proofs.encode_result(proof, device.seed)
            said = messages.encode("result", cti=command.cti, code=0, answer=answer, proof=signed)
        device.say("result", "result", said)
        device.figures.counts["commands answered"] += 1
