"""Composes an agent: its parts, from what was flashed, what was set over the air and what this
image holds. gate.agent imports this once a boot and lets go of it.
"""

import json

from gate import ConfigError, console, ondemand
from gate.clock import const
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.reporting.log import Log
from gate.reporting.outbox import Outbox
from gate.reporting.reports import Reporter, outlasts
from gate.supervisor import Supervisor
from gate.tasks import Tasks
from gate.telemetry.pipeline import Telemetry
from gate.trust.intake import Intake
from gate.trust.rotation import Rotation
from gate.update.doors import Doors
from gate.update.offers import Updater

_RELEASE = "/rom/release.json"
_OFFERS = const(16)  # messages of one kind within a minute that are no flood yet


def enrol(boot):
    """A board with a claim becomes a device first (docs/enrolment.md)."""
    if not SmallFiles(boot.board.folder).size("claim"):
        return
    with ondemand.modules:
        try:
            from gate.enrolment.enrol import Enrolment
        except ImportError:
            raise _left_out("there is a claim", "enrolment")
        Enrolment(boot).run()


def _configure(agent):
    """Reads what was flashed, and what was set over the air. Only inside `with
    ondemand.modules`. Returns (Config, SSLContext or None, Ring, seconds that packs wait in
    RAM); raises ConfigError.
    """
    from gate import identity
    from gate.reporting import crash
    from gate.settings import overrides, stream_settings
    from gate.trust import storage

    boot, board = agent.boot, agent.boot.board
    agent.state = SmallFiles(board.folder + "/state", board.sync)
    agent.log = Log(SmallFiles(board.folder + "/log"), agent.uptime)
    console.set_listener(agent.log.add)
    config, agent.settings = overrides.configure(board, agent.state, agent.streams)
    console.set_level(config.log_level)
    agent.trial_timeout_s = config.trial_timeout_s
    agent.restart_wait_s = config.restart_wait_s
    overrides.use_own(agent.own_settings, config)
    agent.release = _read_release()
    agent.device = identity.device(boot, config)
    agent.trust_version = storage.open(agent.device).version
    agent._clock = getattr(board, "clock", None) if config.clock else None
    agent._crashed = crash.found(agent)
    ssl = None
    if config.mqtt_tls or config.payloads_tls:
        try:
            from gate.link import tls
        except ImportError:
            raise _left_out("config.json asks for TLS", "tls")
        ssl = tls.context(board)
        agent.device.https = ssl if config.payloads_tls else None
    try:  # better known now, while an update that brought this image can go back
        if config.payloads[0] == "coap":
            import coap  # noqa: F401
        else:
            import http_client  # noqa: F401
    except ImportError:
        scheme = config.payloads[0]
        raise _left_out("config.json: payloads is %s://" % scheme, scheme)
    stream_settings.tune(agent.streams, config)
    return (config, ssl) + stream_settings.store(config, board.folder, board.sync)


def compose(agent):
    """Makes the parts of an Agent, each from those before it. What stays is imported outside of
    ondemand.modules. Raises ConfigError.
    """
    with ondemand.modules:
        config, ssl, ring, write_s = _configure(agent)
    boot, device = agent.boot, agent.device
    link = agent.link = _link(config, boot.board, ssl)
    outbox = agent.outbox = Outbox(link, agent.state, outlasts)
    alarms = agent.alarms = Alarms(outbox, agent.uptime)
    agent._reporter = Reporter(agent._nonce, outbox, link.refresh)
    agent.updater = Updater(
        boot, agent.state, device, agent._reporter, alarms, agent._leave, link, agent.uptime
    )
    if agent._ready:
        from gate.update.restart import Restart

        agent.updater.restart = Restart(
            agent._ready, lambda: agent.restart_wait_s, agent.state, agent.uptime
        )
    agent.data = _data_components(agent)
    agent._rotation = Rotation(device, alarms, agent._trust_changed)
    agent.commands = _signed_commands(agent, config.dangerous, ssl)
    number = int.from_bytes(boot.board.random(4), "little") & 0x3FFFFFFF
    agent.telemetry = Telemetry(
        device.id, agent.streams, link, alarms, agent.uptime, ring, number, write_s
    )
    agent.supervisor = Supervisor(boot.watchdog, agent._poll, agent._stuck)
    agent.tasks = Tasks(agent.supervisor, agent._task_failed)
    agent._doors = Doors()
    found = {"trust": agent._rotation.push, "offer": agent.updater.offer}
    if agent.data:
        found.update(agent.data.handlers())
        agent.data.open()
    handlers = {}
    if agent.commands:
        handlers["cmd"] = agent.commands.push
    for kind, go_on in found.items():
        intake = Intake(kind, device, agent.uptime, alarms, go_on, _OFFERS, None, link.refresh)
        handlers[kind] = agent._doors.add(intake)
    link.subscribe(handlers)
    link.introduce(agent._birth, agent._online)
    console.info(
        "%s, %s %s, sequence %d, slot %s, started by %s",
        device.id,
        agent.release["product"],
        agent.release["version"],
        boot.running.sequence,
        boot.slot,
        boot.reset_cause,
    )


def _signed_commands(agent, dangerous, ssl):
    """gate.commands.queue.Commands, or None in an image without commands. Imported outside of
    ondemand.modules, so that it stays.
    """
    try:
        from gate.commands.queue import Commands
    except ImportError:
        return None
    commands = Commands(
        agent,
        agent.device,
        agent.state,
        agent.link,
        agent.outbox,
        agent.alarms,
        agent.uptime,
        agent._nonce,
        dangerous,
    )
    commands.now = agent.now
    commands.give_up = agent.give_up
    commands.signed_at = agent._know_time if ssl else None
    commands.answer_interrupted(agent.boot.reset_cause)
    return commands


def _data_components(agent):
    """gate.update.data_offers.Data, or None for an application without data components, which
    pays no RAM for them.
    """
    if not agent._takers:
        return None
    try:
        from gate.update.data_offers import Data
    except ImportError:
        raise _left_out("the application takes data components", "data")
    files = SmallFiles(agent.boot.board.folder + "/data")
    return Data(agent._takers, files, agent.device, agent._reporter, agent.alarms)


def _link(config, board, ssl):
    """The link of config.uplink. Raises ConfigError where this image has none of this kind."""
    uplink = config.uplink
    try:
        if uplink == "coap":
            from gate.link.coap import CoapLink

            return CoapLink(
                config.device, config.coap_key, config.coap_host, config.coap_port, board
            )
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
