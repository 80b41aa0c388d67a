"""A bare start: the board brings the update whose offer is stored, and does nothing else. An
update for which there is no memory beside the application asks for it
(docs/decisions/0105-a-bare-start.md).

Neither the application nor the link is here, and so nobody to report to: what there is to say is
stored, and the next start sends it. Whatever comes of the update, the board is reset after it, and
that start is a usual one.
"""

import asyncio
import hashlib

from gate import LinkError, console, ondemand
from gate.clock import Uptime, const
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.reporting.outbox import Outbox
from gate.reporting.reports import Reporter, outlasts
from gate.supervisor import Supervisor
from gate.update import ENDED, LACKING, OFFER

_MOST_S = const(1800)  # so long the application is away at most
_WORK_LIMIT_S = const(180)  # for what makes no progress meanwhile
_NETWORK_S = const(120)  # for the network to come up
_NONCE_SIZE = const(8)
REMARK = "brought without the application: there is no memory for an update beside it"


def start(boot):
    """Carries out the stored offer, and resets the board. boot: boot.api.Boot."""
    try:
        asyncio.run(_Bare(boot).run())
    except Exception as error:
        console.error("the update alone: %s: %s", type(error).__name__, error)
    boot.reset()


class _NoLink:
    """What is there in place of a link."""

    connected = False

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        raise LinkError("there is no link")


async def _wait(seconds, beat):
    await beat.sleep(seconds)


class _Bare:
    """fault: true once the start is over; gate.supervisor.Supervisor ends with it."""

    fault = None

    def __init__(self, boot):
        self._boot = boot
        self._uptime = Uptime()

    async def run(self):
        supervisor = Supervisor(self._boot.watchdog, self._poll)
        beat = supervisor.task("update", _WORK_LIMIT_S)
        asyncio.create_task(self._update(beat))
        await supervisor.run(self)

    def _poll(self):
        self._boot.board.link()  # a wireless LAN that was lost is joined again where it is asked
        if self._uptime.seconds() > _MOST_S:
            console.error("the update alone: not within %d s", _MOST_S)
            self.fault = True

    async def _update(self, beat):
        try:
            await self._bring(beat)
        except Exception as error:
            console.error("the update alone: %s: %s", type(error).__name__, error)
        self.fault = True

    async def _bring(self, beat):
        board = self._boot.board
        state = SmallFiles(board.folder + "/state", board.sync)
        new = state.read(LACKING)
        state.remove(LACKING)  # once, whatever it is
        data = new or state.read(OFFER)
        if not data:  # withdrawn just before the reset
            return
        with ondemand.modules:
            device = self._device()
        outbox = Outbox(_NoLink(), state, outlasts)
        reporter = Reporter(board.random(_NONCE_SIZE), outbox, lambda: None)
        board.network_up()
        for _ in range(_NETWORK_S):
            if board.link():
                break
            await beat.sleep(1)
        alarms = Alarms(outbox, self._uptime)
        with ondemand.modules:
            from gate.update import verified

            outcome = verified.outcome(data, device)
            from gate.update.install import Install

            install = Install(self._boot, state, device, reporter, alarms, _wait, None, beat)
            if not new:
                install.resume()
            install.waited = True
            install.remark = REMARK
            await install.run(data, outcome)
            if not install.again_s:  # else a release that failed its trial would have one a day
                state.write(ENDED, hashlib.sha256(data).digest())

    def _device(self):
        from gate import identity
        from gate.settings.config import Config

        board = self._boot.board
        config = Config(board.folder, board.name)
        console.set_level(config.log_level)
        device = identity.device(self._boot, config)
        if config.payloads_tls:
            from gate.link import tls

            device.https = tls.context(board)
        if config.uplink == "usb":
            from gate.link import usb

            usb.use(board)
        return device
