"""Offers of releases: taken from the network one at a time, each carried to its end by
gate.update.install. One that fails for a reason that may pass is tried again for as long as it
stands (gate.update.retry).
"""

import gc
import hashlib

from gate import console, ondemand
from gate.clock import Uptime, const, ticks_diff, ticks_ms
from gate.tasks import Job
from gate.update import ASKED, ENDED, OFFER, Superseded, wait_in_line

_AT_ONCE_MS = const(120_000)  # an offer this soon after the start: the broker was there at once
_RECONNECTED_S = const(60)  # after it, a connection that is new ends the pause of a failed fetch
_PAUSES = const(4)  # images whose pauses are remembered
_ROOM_S = const(3)  # after which the link has made room
_SHORT_S = const(400)  # only that of a failed connection is shorter
# After an attempt without memory even for its code, four times that after another one, and so on.
_CRAMPED_S = const(60)
_CRAMPED_MOST_S = const(86400)


class Updater:
    """Takes offers of images. reporter: gate.reporting.reports.Reporter; restart:
    gate.update.restart.Restart, where the application says when the board may restart.
    """

    sessions = 0
    restart = None
    _cramped = 0  # attempts with the active offer, in a row, that lacked memory
    _verified = False  # the last of them came so far as to verify the offer

    def __init__(self, boot, state, device, reporter, alarms, leave, link=None, uptime=None):
        """boot: boot.api.Boot; state: SmallFiles of the agent's state; device:
        gate.device.Device; leave(beat), or None: a coroutine function to finish what the reset
        into a trial would interrupt; link: has the number of connections so far, `sessions`, and
        maybe make_room(), which frees memory; without one there is a single connection; uptime:
        gate.clock.Uptime.
        """
        self.reporter = reporter
        self._link = link or self
        self._session = 0  # the connection that the last offer came by
        self._boot = boot
        self._state = state
        self._device = device
        self._alarms = alarms
        self._leave = leave
        self._settled = None
        self.arrived = Job()
        self.arrived.set()  # a stored offer may be resumed
        self._inbox = []
        self._install = None  # the gate.update.install.Install that runs
        self._active = None  # hash of its envelope
        self._answered = None  # hash of the last envelope that came to an end
        self._refused = None  # hash of the last one that would be refused again in this boot
        self._at_once = None  # whether the first offer came right after the start
        self._began = ticks_ms()
        self._known = None  # what gate.update.retry knows, between two attempts
        self._waited = False  # the pause before the trial of the active offer is over
        self._uptime = uptime or Uptime()
        self._due = {}  # digest of an image -> when its pause is over
        self._hurry = False
        self._unready = False  # the active offer is installed and waits for the application

    def offer(self, data):
        """Takes an envelope (bytes) from the network; b"": what was offered was withdrawn. Cheap:
        called from the MQTT reader.
        """
        if self._at_once is None:
            self._at_once = ticks_diff(ticks_ms(), self._began) < _AT_ONCE_MS
        self._session = self._link.sessions
        self._take(data)

    def _take(self, data):
        wait_in_line(self._inbox, data)
        self.arrived.set()

    def again(self):
        """Considers the stored offer again, even a refused one, and ends the pause of an update
        that waits. Returns whether there is one.
        """
        self._refused = self._answered = None
        self._due.clear()
        data = self._state.read(OFFER)
        if data:
            self._hurry = True
            self._take(data)
        return data is not None

    def forget(self):
        """Forgets what failed before, as the operator wants it tried again."""
        self._state.remove(ASKED)
        self._state.remove(ENDED)
        self._known = None
        self._waited = True
        self._due.clear()

    def trust_changed(self):
        """The trust store has changed: a refused offer may come again, and the one that runs is
        verified again.
        """
        self._refused = None
        self._state.remove(ENDED)
        if self._install:
            self._install.keys_changed = True

    def begin(self, settled=None):
        """To be called before run(), once and after a fault. settled: digest of an image whose end
        this boot has already reported, or None.
        """
        self._settled = settled
        if self._state.size("retry"):
            # Whether the offer still stands is for the network to say: it may be weeks ago.
            stored = self._state.read(OFFER)
            self._answered = hash_of(stored) if stored else None

    async def run(self, beat):
        """The task of `arrived`: resumes a stored offer, and carries out what came, until nothing
        waits.
        """
        while True:
            data = self._inbox.pop() if self._inbox else None
            older, self._inbox[:] = self._inbox[:], []
            stored = self._state.read(OFFER)
            if data is None and stored and hash_of(stored) != self._answered:
                data = stored
            if not data:
                if data is not None:
                    self._state.remove(OFFER)
                return
            resumed = data == stored
            stored = None
            try:
                pause_s = await self._consider(data, resumed, beat)
                data = None
                if self._refused == self._active or (self._cramped and not self._verified):
                    self._inbox[:0] = older
                older = None
                if pause_s:
                    if self._cramped:
                        await self._start_bare(beat)
                    await self._hold(pause_s, beat)
                elif self._unready:
                    await self._await_application(beat)
            except Superseded:
                console.info("a newer offer arrived")

    async def _consider(self, data, resumed, beat):
        """Returns the seconds after which the same offer is to be tried again, or 0."""
        self._unready = False
        active = hash_of(data)
        if active != self._active:
            self._active = active
            self._waited = False
            if self._cramped:
                self._cramped = 0
        if self._active == self._refused:
            return 0
        beat()
        while self._device.heavy:
            await beat.sleep(1)
        gc.collect()
        self._device.updating += 1
        try:
            with ondemand.modules:
                pause_s = await self._run(data, resumed, beat)
        except MemoryError as error:  # not even for the code
            console.error("update: out of memory: %s", error)
            pause_s = min(_CRAMPED_S << min(2 * self._cramped, 16), _CRAMPED_MOST_S)
            self._cramped += 1
        finally:
            self._device.updating -= 1
        if self._cramped > 1:
            with ondemand.modules:
                from gate.update import cramped

                cramped.store(self._state, data, self._verified, self._uptime.seconds())
        self._answered = self._active
        return pause_s

    async def _run(self, data, resumed, beat):
        from gate.update import verified

        if self._verified:
            self._verified = False
        outcome = verified.outcome(data, self._device)
        try:
            from gate.update.install import Install
        except MemoryError:
            self._verified = not isinstance(outcome, Exception)
            raise

        install = self._install = Install(
            self._boot,
            self._state,
            self._device,
            self.reporter,
            self._alarms,
            self._pause,
            self._leave,
            beat,
        )
        install.settled = self._settled
        install.known = self._known
        install.at_once = self._at_once
        install.waited, self._waited = self._waited, False
        install.left = self._left
        install.restart = self.restart
        install.cramped = self._cramped
        self._hurry = False
        if resumed:
            install.resume()
        try:
            await install.run(data, outcome)
            self._known = install.known
            self._unready = install.unready
            if install.lacked_memory:
                self._cramped += 1
                self._verified = not isinstance(outcome, Exception)
            elif self._cramped:
                self._cramped = 0
            if install.again_s and install.known:
                if len(self._due) >= _PAUSES:
                    self._due.clear()
                self._due[install.known[0]] = self._uptime.seconds() + install.again_s
            if not install.again_s and not install.unready:
                # Refused, failed for a reason that no time mends, or the image that runs: not
                # considered again in this boot, however often it is offered.
                self._refused = self._active
            return install.again_s
        finally:
            self._install = None

    def _left(self, digest):
        """Seconds that are left of an image's pause: other offers, which anybody may send, and the
        same one in another envelope do not end it.
        """
        return max(0, self._due.get(digest, 0) - self._uptime.seconds())

    async def _pause(self, seconds, beat):
        """Sleeps; an offer of the same envelope ends the pause, another one ends this update by
        Superseded.
        """
        for _ in range(seconds):
            if self._same():
                return
            await beat.sleep(1)

    def _same(self):
        """Whether the active offer came again. Raises Superseded if another one waits."""
        came = len(self._inbox)
        self._inbox[:] = [data for data in self._inbox if hash_of(data) != self._active]
        if self._inbox:
            raise Superseded
        return came > 0

    async def _hold(self, seconds, beat):
        """Sleeps, nothing of the update being in RAM, and has the stored offer considered again
        after it; at once if a person asks for it, never if the offer was withdrawn or replaced.

        The same offer comes at each connection. That ends only the pause of a failed connection;
        and one that the present connection did not bring is tried no more: it was withdrawn.
        """
        clock = Uptime()
        passed = 0
        while not self._hurry and (passed < seconds or self._session != self._link.sessions):
            if self._same() and seconds < _SHORT_S and passed >= _RECONNECTED_S:
                break
            await beat.sleep(1)
            passed = clock.seconds()
        self._waited = True
        self._answered = None
        if self._cramped:
            if hasattr(self._link, "make_room"):
                self._link.make_room()
                await beat.sleep(_ROOM_S)
            await self._start_bare(beat)
        if not self._state.size(OFFER):
            self.reporter.ended()  # it could not be stored: the birth asks for it

    async def _start_bare(self, beat):
        """After attempts that lacked memory the stored offer is brought by a start without the
        application, if it is not too soon for one and once the application is ready, as for any
        restart.
        """
        if self._cramped < 2:
            return
        with ondemand.modules:  # an older loader imports modules to find that it has no BARE
            if not hasattr(self._boot, "BARE"):
                return
            from gate.update import cramped

            up_s = self._uptime.seconds()
            if not cramped.may_ask(self._boot, self._state, self._active, self._verified, up_s):
                return
        if self.restart:
            if not self.restart.waits_for(self._active):
                self.restart.begin(self._active)
            try:
                while not self.restart.allows():
                    self._same()
                    await beat.sleep(1)
            finally:  # also where another offer came, which has a wait of its own
                self.restart.end()
        with ondemand.modules:
            from gate.update import cramped

            if not cramped.ask(self._boot, self._state):
                return
        try:
            if self._leave:
                await self._leave(beat)
        except MemoryError:  # then what was not sent yet is lost
            pass
        self._boot.reset()

    async def _await_application(self, beat):
        """Until the application is ready, or its time is up; then the stored offer is considered
        again, and finds its image installed. Nothing of the update is in RAM meanwhile. Raises
        Superseded if the offer was withdrawn or another one came.
        """
        while not self.restart.allows():
            self._same()
            await beat.sleep(1)
        self._answered = None


def hash_of(data):
    return hashlib.sha256(data).digest()
