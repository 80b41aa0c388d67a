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
from gate.commands.queue import Commands
from gate.device import Device
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.reporting.log import Log
from gate.reporting.outbox import Outbox
from gate.reporting.reports import Reporter
from gate.supervisor import Supervisor
from gate.telemetry.pipeline import Telemetry
from gate.trust.rotation import Rotation
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


def healthy():
    """The health check of an application that has none of its own."""
    return True


class Agent:
    """One boot of the agent. Its parts, for the functions of opcodes: boot (boot.api.Boot),
    device, state (its small files), link, outbox, alarms, updater, data (or None), telemetry,
    streams, commands, supervisor, uptime, release, log, tasks (name, task).

    settings: digest of what was set over the air; restart_wanted: some of it waits for a start.
    """

    def __init__(self, boot, streams=(), health=healthy, data=None):
        """boot: what the loader hands to app.start. streams: telemetry.Stream each. health() ->
        bool: whether the application does its work; a trial is confirmed only then. data:
        {name: function(path)} for data components (gate.update.data_offers); the function refuses
        content by returning False or raising. Commands of its own: gate.commands.registry.
        """
        self.boot = boot
        self.streams = streams
        self.tasks = []
        self._health = health
        self._takers = data or {}

    def run(self):
        """Runs until the board is reset. Returns only if what was flashed beside the image is
        unusable.
        """
        try:
            with ondemand.modules:
                self._enrol()
            with ondemand.modules:
                self._compose()
        except ConfigError as error:
            console.error("%s", error)
            return
        gc.collect()
        try:
            asyncio.run(self._main())
        except Exception as error:
            self._fell(error)
            raise

    # ------------------------------------------------------------ composing

    def _enrol(self):
        """A board with a claim becomes a device first (docs/enrolment.md)."""
        if SmallFiles(self.boot.board.folder).size("claim"):
            from gate.enrolment.enrol import Enrolment

            Enrolment(self.boot).run()

    def _compose(self):
        from gate import identity as gate_identity
        from gate.reporting import crash
        from gate.settings import overrides
        from gate.trust import storage

        boot, board = self.boot, self.boot.board
        self.uptime = Uptime()
        state = self.state = SmallFiles(board.folder + "/state", board.sync)
        self.log = Log(SmallFiles(board.folder + "/log"), self.uptime)
        console.set_keeper(self.log.add)
        config, self.settings = overrides.configure(board, state, self.streams)
        self.restart_wanted = False
        console.set_level(config.log_level)
        vendor = gate_identity.vendor_id(config.vendor)
        identity = gate_identity.class_id(vendor, config.product, config.board)
        feed = boot.watchdog.feed
        device = self.device = Device(
            board, feed, config.device, vendor, identity, config.payloads
        )
        device.hardware = gate_identity.hardware(board)
        self.trust_version = storage.open(device).version
        self.trial_timeout_s = config.trial_timeout_s
        self.release = _read_release()
        self._nonce = board.random(_NONCE_SIZE)
        self._reboot = asyncio.Event()

        handlers = {
            "trust": lambda data: self._rotation.push(data),
            "offer": lambda data: self.updater.offer(data),
            "cmd": lambda data: self.commands.push(data),
        }
        ssl = None
        if config.mqtt_tls or config.payloads_tls:
            from gate.link.tls import context

            ssl = context(board)
            device.https = ssl if config.payloads_tls else None
        self.link = _link(config, board, handlers, ssl)
        self.outbox = Outbox(self.link, state)
        self._reporter = Reporter(self._nonce, self.outbox, self.link.refresh)
        alarms = self.alarms = Alarms(self.outbox, self.uptime)
        self.updater = Updater(boot, state, device, self._reporter, alarms, self._leave)
        self.data = None
        if self._takers:
            from gate.update.data_offers import Data  # RAM is spent only where it is wanted

            ondemand.modules.keep("gate.update.data_offers")

            files = SmallFiles(board.folder + "/data")
            self.data = Data(self._takers, files, device, self._reporter, alarms)
            handlers.update(self.data.handlers())
        self._clock = getattr(board, "clock", None) if config.clock else None
        commands = self.commands = Commands(
            self,
            device,
            state,
            self.link,
            self.outbox,
            alarms,
            self.uptime,
            self._nonce,
            config.dangerous,
        )
        commands.now = self.now
        commands.give_up = self.give_up
        if ssl:
            commands.signed_at = self._know_time
        commands.answer_interrupted(boot.reset_cause)
        self.telemetry = self._measure(config, alarms)
        self._rotation = Rotation(device, alarms, self._trust_changed)
        self.supervisor = Supervisor(boot.watchdog, self.log.poll, self._stuck)
        self.link.introduce(self._birth, self._online)
        if self.data:
            self.data.open()
        console.info(
            "%s, %s %s, sequence %d, slot %s, started by %s",
            device.id,
            self.release["product"],
            self.release["version"],
            boot.running.sequence,
            boot.slot,
            boot.reset_cause,
        )
        self._crashed = crash.found(self)

    def _measure(self, config, alarms):
        from gate.settings import stream_settings

        board = self.boot.board
        stream_settings.tune(self.streams, config)
        store, write_s = stream_settings.store(config, board.folder, board.sync)
        number = int.from_bytes(board.random(4), "little") & 0x3FFFFFFF
        return Telemetry(
            config.device, self.streams, self.link, alarms, self.uptime, store, number, write_s
        )

    def _know_time(self, seconds):
        """What TLS can tell of the time. Called where modules are on demand."""
        from gate.link import tls

        tls.know_time(self.boot.board, seconds)

    def _birth(self):
        boot, release = self.boot, self.release
        birth = {
            1: PROTOCOL,
            2: boot.board.name,
            3: release["product"],
            4: release["version"],
            5: boot.running.sequence,
            6: boot.running.digest,
            7: self._nonce,
            8: boot.reset_cause,
            9: boot.trial,
            10: ".".join(str(part) for part in sys.implementation.version[:3]),
            11: self.trust_version,
        }
        if self.data:
            birth[12] = self.data.held()
        if self.settings:
            birth[13] = self.settings
        birth[14] = self.device.hardware
        return cbor.dumps(birth)

    def _online(self):
        return cbor.dumps({1: True, 2: self._reporter.state, 3: self._reporter.result})

    def _stuck(self, name, seconds):
        with ondemand.modules:
            from gate.reporting import crash

            why = "task %s made no progress for %d s" % (name, seconds)
            crash.note(self.state, self.boot.running.sequence, why)
            crash.keep(self, "watchdog", name)

    def _fell(self, error):
        """An exception ends the agent, and the loader tells of it; what it cannot know is kept."""
        self._keep_crash(type(error).__name__, _at_fault(self.tasks, error))

    def give_up(self, reason, task):
        """Asks for a reset because it cannot go on like this; what is known is told after it."""
        self._keep_crash(reason, task)
        self.reboot()

    def _keep_crash(self, reason, task):
        gc.collect()
        try:
            with ondemand.modules:
                from gate.reporting import crash

                crash.keep(self, reason, task)
        except Exception as more:
            print("tidegate: and then:", repr(more))

    async def _tell_crash(self):
        while not self.link.announced:
            await sleep_ms(1000)
        with ondemand.modules:
            from gate.reporting import crash

            try:
                crash.tell(self)
            except MemoryError:  # to tell of a crash must not be the next one
                crash.forget(self.state)

    def _trust_changed(self, version):
        """Says so with a new birth; what the old keys signed is looked at again."""
        self.trust_version = version
        self.updater.trust_changed()
        if self.data:
            self.data.trust_changed()
        self.link.refresh()

    # ------------------------------------------------------------ tasks

    async def _main(self):
        self._start("supervisor", self.supervisor.run())
        self._start("link", self.link.run())
        self._start("announce", self.link.announce, _LIMIT_S)
        self._start("outbox", self.outbox.run, _LIMIT_S)
        self._start("sample", self.telemetry.sample, _LIMIT_S)
        self._start("telemetry", self.telemetry.send, _LIMIT_S)
        self._start("commands", self.commands.run, _WORK_LIMIT_S)
        self._start("trust", self._rotation.run, _WORK_LIMIT_S)
        self._start("updater", self._update, _WORK_LIMIT_S)
        self._start("reboot", self._wait_reboot, _LIMIT_S)
        if self.data:
            self._start("data", self.data.run, _WORK_LIMIT_S)
        if self._crashed:
            self._start("crash", self._tell_crash())
        await asyncio.gather(*[task for _, task in self.tasks])

    def _start(self, name, run, limit_s=None):
        """Starts a task; with a limit, `run` is called with its supervisor's Beat."""
        if limit_s:
            run = run(self.supervisor.task(name, limit_s))
        self.tasks.append((name, asyncio.create_task(run)))

    async def _update(self, beat):
        """First the end of the last update, then the next one."""
        with ondemand.modules:
            settled = await self._end_trial(beat)
        await self.updater.run(beat, settled)

    async def _end_trial(self, beat):
        """Returns the digest of the image whose end was reported, or None."""
        trial = self._trial()
        settled = trial.report_outcome()
        if self.boot.trial:
            await trial.prove(self.link, self._health, self.trial_timeout_s, beat)
            settled = trial.report_outcome()
        return settled

    def _trial(self):
        """Only inside `with ondemand.modules`."""
        from gate.update.trial import Trial

        return Trial(self.boot, self.state, self._reporter, self.alarms, self.outbox)

    def now(self):
        """Seconds since 1970, or None where the clock cannot be trusted."""
        return self._clock() if self._clock else None

    def reboot(self):
        """Asks for a reset: soon, once commands that came are answered and messages sent."""
        self._reboot.set()

    async def _wait_reboot(self, beat):
        await beat.wait(self._reboot)
        await self._leave(beat, _ANSWERED_QUIET_MS)
        self.boot.reset()

    async def _leave(self, beat, quiet_ms=_QUIET_MS):
        """Finishes what a reset on purpose must not cost. Commands are among it: those that were
        signed for this boot are void after it, so they are carried out before it.
        """
        for _ in range(0, _QUIET_MOST_MS, quiet_ms):
            received = self.commands.received
            await beat.sleep(quiet_ms / 1000)
            await self.outbox.flush(_FLUSH_S)
            if self.commands.idle and self.commands.received == received:
                break
        # Nothing may be awaited from here to the reset: a command could come.
        self.telemetry.keep()
        self.log.save()


def _link(config, board, handlers, ssl):
    if config.uplink == "coap":
        from gate.link.coap import CoapLink

        return CoapLink(config, board, handlers)
    if config.uplink == "both":
        from gate.link.fallback import EitherLink

        return EitherLink(config, board, handlers, ssl)
    from gate.link.mqtt import Link

    return Link(config, board, handlers, ssl)


def _at_fault(tasks, error):
    """The name of the task that ended with this exception, or None."""
    for name, task in tasks:
        # MicroPython's task has what it raised in `data`.
        raised = task.data if hasattr(task, "data") else task.done() and task.exception()
        if task.done() and raised is error:
            return name
    return None


def _read_release():
    """What the image says of itself: {"product", "version", ...}."""
    try:
        with open(_RELEASE) as file:
            release = json.load(file)
        return {"product": release["product"], "version": release["version"]}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError("%s is unusable (%r); build the image again" % (_RELEASE, error))
