"""The agent of one gateway: composes configuration, link, updates, commands and telemetry, and
runs them.
"""

import asyncio
import gc
import json
import sys

import cbor

from gate import PROTOCOL, ConfigError, console, ondemand
from gate.clock import Uptime, const, sleep_ms
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.reporting.log import Log
from gate.reporting.outbox import Outbox
from gate.reporting.reports import Reporter, outlasts
from gate.supervisor import Supervisor, keep_going
from gate.telemetry.pipeline import Telemetry
from gate.trust.intake import Intake
from gate.trust.rotation import Rotation
from gate.update.doors import Doors
from gate.update.offers import Updater

_NONCE_SIZE = const(8)
_RELEASE = "/rom/release.json"
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
_OFFERS = const(16)  # messages of one kind within a minute that are no flood yet
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
    None), telemetry, streams, commands (or None), supervisor, uptime, release, log, tasks (name,
    task).

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
        self.tasks = []
        self.restart_wanted = False
        self._health = health
        self._takers = data or {}
        self._ready = ready
        self.own_settings = settings
        self._nonce = boot.board.random(_NONCE_SIZE)
        self._proof = None
        self._resetting = False

    def run(self):
        """Runs until the board is reset. Returns only if what was flashed beside the image is
        unusable.
        """
        if "gate.exports" in sys.modules:  # the application has imported what it needs
            ondemand.forget("gate.exports")
        try:
            self._enrol()
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
            self._keep_crash(type(error).__name__, _at_fault(self.tasks, error))
            raise

    # ------------------------------------------------------------ composing

    def _enrol(self):
        """A board with a claim becomes a device first (docs/enrolment.md)."""
        if not SmallFiles(self.boot.board.folder).size("claim"):
            return
        with ondemand.modules:
            try:
                from gate.enrolment.enrol import Enrolment
            except ImportError:
                raise _left_out("there is a claim", "enrolment")
            Enrolment(self.boot).run()

    def _configure(self):
        """Reads what was flashed, and what was set over the air. Only inside `with
        ondemand.modules`. Returns (Config, SSLContext or None, Ring, seconds that packs wait in
        RAM); raises ConfigError.
        """
        from gate import identity
        from gate.reporting import crash
        from gate.settings import overrides, stream_settings
        from gate.trust import storage

        boot, board = self.boot, self.boot.board
        self.state = SmallFiles(board.folder + "/state", board.sync)
        self.log = Log(SmallFiles(board.folder + "/log"), self.uptime)
        console.set_listener(self.log.add)
        config, self.settings = overrides.configure(board, self.state, self.streams)
        console.set_level(config.log_level)
        self.trial_timeout_s = config.trial_timeout_s
        self.restart_wait_s = config.restart_wait_s
        overrides.use_own(self.own_settings, config)
        self.release = _read_release()
        self.device = identity.device(boot, config)
        self.trust_version = storage.open(self.device).version
        self._clock = getattr(board, "clock", None) if config.clock else None
        self._crashed = crash.found(self)
        ssl = None
        if config.mqtt_tls or config.payloads_tls:
            try:
                from gate.link import tls
            except ImportError:
                raise _left_out("config.json asks for TLS", "tls")
            ssl = tls.context(board)
            self.device.https = ssl if config.payloads_tls else None
        try:  # better known now, while an update that brought this image can go back
            if config.payloads[0] == "coap":
                import coap  # noqa: F401
            else:
                import http_client  # noqa: F401
        except ImportError:
            scheme = config.payloads[0]
            raise _left_out("config.json: payloads is %s://" % scheme, scheme)
        stream_settings.tune(self.streams, config)
        return (config, ssl) + stream_settings.store(config, board.folder, board.sync)

    def _compose(self):
        """Makes the parts, each from those before it. The link is imported outside of
        ondemand.modules, so that what it needs stays.
        """
        with ondemand.modules:
            config, ssl, ring, write_s = self._configure()
        boot, device = self.boot, self.device
        link = self.link = _link(config, boot.board, ssl)
        outbox = self.outbox = Outbox(link, self.state, outlasts)
        alarms = self.alarms = Alarms(outbox, self.uptime)
        self._reporter = Reporter(self._nonce, outbox, link.refresh)
        self.updater = Updater(
            boot, self.state, device, self._reporter, alarms, self._leave, link, self.uptime
        )
        if self._ready:
            from gate.update.restart import Restart

            self.updater.restart = Restart(
                self._ready, lambda: self.restart_wait_s, self.state, self.uptime
            )
        self.data = self._data_components()
        self._rotation = Rotation(device, alarms, self._trust_changed)
        self.commands = self._signed_commands(config.dangerous, ssl)
        number = int.from_bytes(boot.board.random(4), "little") & 0x3FFFFFFF
        self.telemetry = Telemetry(
            device.id, self.streams, link, alarms, self.uptime, ring, number, write_s
        )
        self.supervisor = Supervisor(boot.watchdog, self._poll, self._stuck)
        self._doors = Doors()
        found = {"trust": self._rotation.push, "offer": self.updater.offer}
        if self.data:
            found.update(self.data.handlers())
            self.data.open()
        handlers = {}
        if self.commands:
            handlers["cmd"] = self.commands.push
        for kind, go_on in found.items():
            intake = Intake(kind, device, self.uptime, alarms, go_on, _OFFERS, None, link.refresh)
            handlers[kind] = self._doors.add(intake)
        link.subscribe(handlers)
        link.introduce(self._birth, self._online)
        console.info(
            "%s, %s %s, sequence %d, slot %s, started by %s",
            device.id,
            self.release["product"],
            self.release["version"],
            boot.running.sequence,
            boot.slot,
            boot.reset_cause,
        )

    def _signed_commands(self, dangerous, ssl):
        """gate.commands.queue.Commands, or None in an image without commands. Imported outside of
        ondemand.modules, so that it stays.
        """
        try:
            from gate.commands.queue import Commands
        except ImportError:
            return None
        commands = Commands(
            self,
            self.device,
            self.state,
            self.link,
            self.outbox,
            self.alarms,
            self.uptime,
            self._nonce,
            dangerous,
        )
        commands.now = self.now
        commands.give_up = self.give_up
        commands.signed_at = self._know_time if ssl else None
        commands.answer_interrupted(self.boot.reset_cause)
        return commands

    def _data_components(self):
        """gate.update.data_offers.Data, or None for an application without data components, which
        pays no RAM for them.
        """
        if not self._takers:
            return None
        try:
            from gate.update.data_offers import Data
        except ImportError:
            raise _left_out("the application takes data components", "data")
        files = SmallFiles(self.boot.board.folder + "/data")
        return Data(self._takers, files, self.device, self._reporter, self.alarms)

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
            self._start("reboot", self._reset, _LIMIT_S)

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
        self._start("supervisor", self.supervisor.run)
        self._start("link", self.link.run)
        self._start("announce", self.link.announce, _LIMIT_S)
        self._start("outbox", self.outbox.run, _LIMIT_S)
        self._start("sample", self.telemetry.sample, _LIMIT_S)
        self._start("telemetry", self.telemetry.send, _LIMIT_S)
        if self.commands:
            self._start("commands", self.commands.run, _WORK_LIMIT_S)
        self._start("trust", self._rotation.run, _WORK_LIMIT_S)
        self._start("updater", self._update, _WORK_LIMIT_S)
        self._start("doors", self._doors.run, _WORK_LIMIT_S)
        if self.data:
            self._start("data", self.data.run, _WORK_LIMIT_S)
        if self._crashed:
            self._start("crash", self._report_crash)
        if SmallFiles(self.boot.board.folder).size("key"):
            self._start("birth", self._sign_birth)
        await asyncio.gather(*[task for _, task in self.tasks])

    def _start(self, name, run, limit_s=None):
        """Starts a task; with a limit, `run` is called with its supervisor's Beat."""
        beat = self.supervisor.task(name, limit_s) if limit_s else None
        going = keep_going(run, beat, lambda error, count: self._task_failed(name, error, count))
        self.tasks.append((name, asyncio.create_task(going)))

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
        """First the end of the last update, then the next one. The two coroutines take the same
        place here: what a frame that lasts still held of the first, its modules included, would
        never be freed.
        """
        if self._crashed:  # perhaps by what the update did: let others have a say before
            for _ in range(_OFFLINE_S):
                if self.link.announced:
                    await beat.sleep(_REACHABLE_S)
                    break
                await beat.sleep(1)
        settled = await self._end_trial(beat)
        await self.updater.run(beat, settled)

    async def _end_trial(self, beat):
        """Returns the digest of the image whose end was reported, or None."""
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


def _link(config, board, ssl):
    """The link of config.uplink. Raises ConfigError where this image has none of this kind."""
    uplink = config.uplink
    try:
        if uplink == "coap":
            from gate.link.coap import CoapLink

            return CoapLink(config, board)
        if uplink == "both":
            from gate.link.fallback import EitherLink

            return EitherLink(config, board, ssl)
        if uplink == "usb":
            from gate.link import usb

            usb.use(board)
        from gate.link.mqtt import Link

        return Link(config, board, ssl)
    except ImportError:
        what = {"both": "mqtt with coap", "usb": "mqtt with usb"}.get(uplink, uplink)
        raise _left_out("config.json: uplink is %s" % uplink, what)


def _at_fault(tasks, error):
    """The name of the task that ended with this exception, or None."""
    for name, task in tasks:
        # MicroPython's task has what it raised in `data`.
        raised = (
            task.data
            if hasattr(task, "data")
            else task.done() and not task.cancelled() and task.exception()
        )
        if task.done() and raised is error:
            return name
    return None


def _read_release():
    """What the image says of itself: {"product", "version"}. Raises ConfigError."""
    try:
        with open(_RELEASE) as file:
            release = json.load(file)
        return {"product": release["product"], "version": release["version"]}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError("%s is unusable (%r); build the image again" % (_RELEASE, error))


def _left_out(what, feature):
    """The ConfigError that says that this image lacks what it would need."""
    return ConfigError(
        "%s, but %s is not in this image; build it with this feature (docs/image.md)"
        % (what, feature)
    )
