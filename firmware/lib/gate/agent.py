"""The agent of one gateway: runs what gate.compose makes of configuration, link, updates, commands
and telemetry.
"""

import asyncio
import gc
import sys

import cbor

from gate import PROTOCOL, ConfigError, console, ondemand
from gate.clock import Uptime, const, sleep_ms
from gate.files import SmallFiles

_NONCE_SIZE = const(8)
_LIMIT_S = const(60)  # a task that has not checked in for so long is stuck
_WORK_LIMIT_S = const(180)  # for the tasks that verify signatures and write slots
# Before a reset on purpose no command has come for a while: after an update a short one, after an
# answered `reboot` so long that who read the answer could still have sent one.
_QUIET_MS = const(200)
_ANSWERED_QUIET_MS = const(2000)
_QUIET_MOST_MS = const(130_000)  # longer than any command takes
_FLUSH_S = const(5)
_STACK_CALLS = const(24)
_FAILURES = const(8)  # of a task in a row, over some eight minutes, until there is a reset
_REACHABLE_S = const(30)  # after a crash: so long a command has before an update goes on
_OFFLINE_S = const(300)  # or so long without a connection
_SIGN_TIMES = const(5)  # attempts to sign the birth, for which there may be no memory at first
_SIGN_PAUSE_S = const(30)

# keys of a birth, docs/wire.cddl
_PROTOCOL = const(1)
_BOARD = const(2)
_PRODUCT = const(3)
_VERSION = const(4)
_SEQUENCE = const(5)
_DIGEST = const(6)
_NONCE = const(7)
_RESET_CAUSE = const(8)
_TRIAL = const(9)
_MICROPYTHON = const(10)
_TRUST_VERSION = const(11)
_DATA = const(12)
_SETTINGS = const(13)
_HARDWARE = const(14)
_PROOF = const(15)

# keys of a state, docs/wire.cddl
_ONLINE = const(1)
_LWM2M_STATE = const(2)
_LWM2M_RESULT = const(3)


def healthy():
    """The health check of an application that has none of its own."""
    return True


def _load_machine_code():
    """Loads what verifies signatures, where there is machine code: it is never freed, so it should
    lie below what is loaded on demand, not above it.
    """
    try:
        import _ed25519  # noqa: F401
    except (ImportError, ValueError, MemoryError):  # ed25519 tries again
        pass


class Agent:
    """One boot of the agent. Its parts, for the functions of opcodes: boot (boot.api.Boot),
    device (gate.device.Device), state (its small files), link, outbox, alarms, updater, data (or
    None), telemetry, streams, commands (or None), supervisor, uptime, release, log, tasks
    (gate.tasks.Tasks).

    settings: digest of what was set over the air; restart_wanted: some of it waits for a start;
    own_settings: the application's.
    """

    def __init__(self, boot, streams=(), health=healthy, data=None, ready=None, settings=()):
        """boot: what the loader hands to app.start. streams: gate.Stream each. health() -> bool:
        whether the application does its work; a trial is confirmed only then. data:
        {name: function(path)} for data components (gate.update.data_offers); the function refuses
        content by returning False or raising. ready() -> bool: whether now is a good time to
        restart; an update that is installed waits for it. settings: gate.application.Setting
        each. Commands of its own: gate.opcode.
        """
        self.boot = boot
        self.streams = streams
        self.uptime = Uptime()
        self.restart_wanted = False
        self._health = health
        self._takers = data or {}
        self._ready = ready
        self.own_settings = settings
        self._nonce = boot.board.random(_NONCE_SIZE)
        self._proof = None
        self._resetting = False
        self._looked_back = False  # the end of the last update is known

    def run(self):
        """Runs until the board is reset. Returns only if what was flashed beside the image is
        unusable.
        """
        if "gate.exports" in sys.modules:  # the application has imported what it needs
            ondemand.forget("gate.exports")
        try:
            self._compose()
        except ConfigError as error:
            console.error("%s", error)
            return
        _overwrite_stack(_STACK_CALLS)
        ondemand.modules.rest()
        gc.collect()
        _load_machine_code()
        try:
            asyncio.run(self._main())
        except Exception as error:
            fault = self.tasks.fault
            self._keep_crash(type(error).__name__, fault and fault[0])
            raise

    def _compose(self):
        from gate import compose

        compose.enrol(self.boot)
        compose.compose(self)
        ondemand.forget("gate.compose")

    # ------------------------------------------------------------ what parts call

    def _birth(self):
        boot, release = self.boot, self.release
        birth = {
            _PROTOCOL: PROTOCOL,
            _BOARD: boot.board.name,
            _PRODUCT: release["product"],
            _VERSION: release["version"],
            _SEQUENCE: boot.running.sequence,
            _DIGEST: boot.running.digest,
            _NONCE: self._nonce,
            _RESET_CAUSE: boot.reset_cause,
            _TRIAL: boot.trial,
            _MICROPYTHON: ".".join(str(part) for part in sys.implementation.version[:3]),
            _TRUST_VERSION: self.trust_version,
            _HARDWARE: self.device.hardware,
        }
        if self.data:
            birth[_DATA] = self.data.held()
        if self.settings:
            birth[_SETTINGS] = self.settings
        if self._proof:
            birth[_PROOF] = self._proof
        return cbor.dumps(birth)

    def _online(self):
        reporter = self._reporter
        return cbor.dumps(
            {_ONLINE: True, _LWM2M_STATE: reporter.state, _LWM2M_RESULT: reporter.result}
        )

    def _know_time(self, seconds):
        """A command key signed at this time: TLS may use it. Called inside `with
        ondemand.modules`.
        """
        from gate.link import tls

        tls.know_time(self.boot.board, seconds)

    def _trust_changed(self, version):
        """Announces the new version; what the old keys signed must be verified again."""
        for intake in self._doors.intakes:
            intake.keys_changed()
        if self.commands:
            self.commands.intake.keys_changed()
        self.trust_version = version
        self.updater.trust_changed()
        if self.data:
            self.data.trust_changed()
        self.link.refresh()

    def _poll(self):
        self.tasks.poll()
        self.log.poll()
        if self.commands:
            self.commands.intake.poll()
        for intake in self._doors.intakes:
            intake.poll()

    def now(self):
        """Seconds since 1970, or None where the clock cannot be trusted."""
        return self._clock() if self._clock else None

    def reboot(self):
        """Resets the board soon, once commands that came are answered and messages sent."""
        if not self._resetting:
            self._resetting = True
            self.tasks.start("reboot", self._reset, _LIMIT_S)

    def give_up(self, reason, task):
        """Asks for a reset because it cannot go on like this, and reports why after it."""
        self._keep_crash(reason, task)
        self.reboot()

    # ------------------------------------------------------------ crashes

    def _stuck(self, name, seconds):
        with ondemand.modules:
            from gate.reporting import crash

            why = "task %s made no progress for %d s" % (name, seconds)
            crash.note(self.state, self.boot.running.sequence, why)
            crash.keep(self, "watchdog", name)

    def _keep_crash(self, reason, task):
        """Stores what the loader cannot know of a crash."""
        gc.collect()
        try:
            with ondemand.modules:
                from gate.reporting import crash

                crash.keep(self, reason, task)
        except Exception as more:
            print("tidegate: and then:", repr(more))

    async def _report_crash(self):
        while not self.link.announced:
            await sleep_ms(1000)
        with ondemand.modules:
            from gate.reporting import crash

            try:
                crash.tell(self)
            except MemoryError:  # reporting a crash must not be the next one
                crash.forget(self.state)

    # ------------------------------------------------------------ tasks

    async def _main(self):
        start, work = self.tasks.start, self.tasks.work
        start("link", self.link.run)
        start("sample", self.telemetry.sample, _LIMIT_S)
        work("announce", self.link.announce, _LIMIT_S, self.link.joined)
        work("outbox", self.outbox.run, _LIMIT_S, self.outbox.work)
        work("telemetry", self.telemetry.send, _LIMIT_S, self.telemetry.work)
        if self.commands:
            work("commands", self.commands.run, _WORK_LIMIT_S, self.commands.work)
        work("trust", self._rotation.run, _WORK_LIMIT_S, self._rotation.arrived)
        work("updater", self._update, _WORK_LIMIT_S, self.updater.arrived)
        work("doors", self._doors.run, _WORK_LIMIT_S, self._doors.arrived)
        if self.data:
            work("data", self.data.run, _WORK_LIMIT_S, self.data.arrived)
        if self._crashed:
            start("crash", self._report_crash)
        if SmallFiles(self.boot.board.folder).size("key"):
            start("birth", self._sign_birth)
        # Not a task of its own: that would be here only to wait for it.
        count = 0
        while not self.tasks.fault:
            try:
                await self.supervisor.run(self.tasks)
            except Exception as error:
                count += 1
                self._task_failed("supervisor", error, count)
                await sleep_ms(1000)
        raise self.tasks.fault[1]

    def _task_failed(self, name, error, count):
        """A task raised, for the count-th time in a row, and begins again: whatever made it fail,
        the rest lives on and the board stays reachable. Not so in a trial, which is to find out
        whether the image is good; and in the end a reset may mend what a new beginning does not.
        """
        if self.boot.trial:
            raise error
        if count & (count - 1):  # told at the 1st, 2nd, 4th, 8th
            return
        try:
            with ondemand.modules:
                from gate.reporting import crash

                crash.tell_failure(self, name, error, count)
        except Exception as more:  # there may be no memory for it
            print("tidegate: task", name, "failed:", repr(error), repr(more))
        if count >= _FAILURES:
            self.give_up(type(error).__name__, name)

    async def _sign_birth(self):
        """Signs this boot's nonce with the board's own key, and announces it again with that. The
        first birth does not wait for it, and neither does an update that is under way.
        """
        for _ in range(_SIGN_TIMES):
            for _ in range(_SIGN_PAUSE_S):
                await sleep_ms(1000)
                if self.link.announced and not self.device.updating:
                    break
            try:
                with ondemand.modules:
                    from gate import proof

                    self._proof = proof.birth(self.device, self._nonce)
                self.link.refresh()
                return
            except ImportError:
                console.error("there is a key, but identity is not in this image")
                return
            except Exception as error:  # a board that cannot sign still does all else
                console.error("the birth could not be signed: %r", error)
                await sleep_ms(_SIGN_PAUSE_S * 1000)

    async def _update(self, beat):
        """First the end of the last update, then those that come."""
        first, self._looked_back = not self._looked_back, False
        if first:
            self.updater.begin(await self._look_back(beat))
        await self.updater.run(beat)
        self._looked_back = True

    async def _look_back(self, beat):
        """Returns the digest of the image whose end was reported, or None."""
        if self._crashed:  # perhaps by what the update did: let others have a say before
            for _ in range(_OFFLINE_S):
                if self.link.announced:
                    await beat.sleep(_REACHABLE_S)
                    break
                await beat.sleep(1)
        with ondemand.modules:
            if not self.boot.trial and self.boot.outcome is None:  # as nearly always
                return None
            from gate.update.trial import Trial

            trial = Trial(self.boot, self.state, self._reporter, self.alarms, self.outbox)
            settled = trial.report_outcome()
            if self.boot.trial:
                await trial.prove(self.link, self._health, self.trial_timeout_s, beat)
                settled = trial.report_outcome()
        return settled

    async def _reset(self, beat):
        await self._leave(beat, _ANSWERED_QUIET_MS)
        self.boot.reset()

    async def _leave(self, beat, quiet_ms=_QUIET_MS):
        """Finishes what the reset that follows would cost. Commands are among it: those that were
        signed for this boot are void after it, so they are executed before it.
        """
        for _ in range(0, _QUIET_MOST_MS, quiet_ms):
            received = self.commands and self.commands.received
            await beat.sleep(quiet_ms / 1000)
            await self.outbox.flush(_FLUSH_S)
            if not self.commands:
                break
            if self.commands.idle and self.commands.received == received:
                break
        # Nothing may be awaited from here to the reset: a command could come.
        self.telemetry.keep()
        self.log.save()


def _overwrite_stack(calls):
    """Overwrites what earlier calls left on the C stack: the collector takes it for references,
    and nothing else overwrites it while the event loop runs.
    """
    if calls:
        _overwrite_stack(calls - 1)
