"""Alarms: what people should look at, a few at a time. Those beyond the limit are counted, and the
next one of the kind carries the count.
"""

import cbor

from gate import console
from gate.clock import const
from gate.reporting.reports import shorten

COMMAND_REFUSED = "command-refused"
COMMANDS_PAUSED = "commands-paused"
OFFER_REFUSED = "offer-refused"
TRUST_REFUSED = "trust-refused"
ROLLED_BACK = "rolled-back"
TELEMETRY_DROPPED = "telemetry-dropped"
CRASH = "crash"
DATA_REFUSED = "data-refused"

# keys of an alarm, docs/wire.cddl
_KIND = const(1)
_REASON = const(2)
_DETAIL = const(3)
_CTI = const(4)
_SUPPRESSED = const(5)
_TRACE = const(6)

_BURST = const(5)  # alarms of a kind that may follow each other at once
_REFILL_S = const(30)  # after that, one more of the kind every so often


class Alarms:
    """Sends alarms through the outbox, at most _BURST of a kind and then one in _REFILL_S."""

    def __init__(self, outbox, uptime):
        self._outbox = outbox
        self._uptime = uptime
        self._kinds = {}  # kind -> [tokens, when they were counted (s), alarms not sent]

    def raise_(self, kind, reason, detail=None, cti=None, trace=None):
        """kind: one of the above; reason: a word; detail: for people; cti: of the command that
        the alarm is about; trace: lines for people, at most 1000 bytes.
        """
        now = self._uptime.seconds()
        bucket = self._kinds.setdefault(kind, [_BURST, now, 0])
        earned = (now - bucket[1]) // _REFILL_S
        if earned:
            bucket[0] = min(_BURST, bucket[0] + earned)
            bucket[1] += earned * _REFILL_S
        if not bucket[0]:
            bucket[2] += 1
            return
        bucket[0] -= 1
        console.info(
            "alarm: %s: %s%s%s",
            kind,
            reason,
            " (%s)" % detail if detail else "",
            "; suppressed %d before it" % bucket[2] if bucket[2] else "",
        )
        message = {_KIND: kind, _REASON: reason}
        if detail:
            message[_DETAIL] = shorten(detail)
        if cti:
            message[_CTI] = cti
        if bucket[2]:
            message[_SUPPRESSED] = bucket[2]
            bucket[2] = 0
        if trace:
            message[_TRACE] = trace
        self._outbox.add("alarm", cbor.dumps(message))
