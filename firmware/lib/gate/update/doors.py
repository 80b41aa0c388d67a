"""The doors of what is judged rarely: offers, data and trust stores. While all is calm they stand
open; in a flood (gate.trust.intake) only what is signed by a key of its role goes on.
"""

from gate import ondemand
from gate.clock import const
from gate.tasks import Job

_TRIES = const(3)  # for lack of memory, a second apart


class Doors:
    """The intakes of what is judged rarely, and the task that looks at their floods: only what is
    signed by a key of its role goes on.
    """

    def __init__(self):
        self.intakes = []
        self.arrived = Job()

    def add(self, intake):
        """Returns the function that takes messages."""
        intake.arrived = self.arrived
        self.intakes.append(intake)
        return intake.push

    async def run(self, beat):
        """The task of `arrived`: looks at all that came."""
        found = True
        while found:
            found = False
            for intake in self.intakes:
                data = intake.take()
                if data:
                    found = True
                    await self._judge(intake, data, beat)

    async def _judge(self, intake, data, beat):
        for _ in range(_TRIES):
            beat()
            try:
                with ondemand.modules:
                    if is_signed(intake, data):
                        intake.go_on(data)
                break
            except MemoryError:  # of the moment, in a flood
                await beat.sleep(1)
        else:
            return  # it was not judged, and may come again
        await intake.judged(data, beat)


def is_signed(intake, data):
    """Whether a key of its role signed this message; what else is wrong with it others say."""
    from gate.trust import storage, store

    keys, feed = storage.open(intake.device), intake.device.feed
    if intake.kind == "trust":
        from gate.trust import verify_rotation

        try:
            verify_rotation.verify(data, keys.store, feed)
        except store.Untrusted:
            return keys.holds(verify_rotation.payload(data))
        return True
    from gate.update import suit_envelope
    from gate.update.failures import Failure

    try:
        suit_envelope.authenticate(data, keys, feed)
    except Failure:
        return False
    return True
