"""What the agent finishes before a reset on purpose: commands that have come are carried out and answered first, as
those signed for this boot are void after it."""

import asyncio

import scratch
from check import equal, true
from gate.agent import Agent
from gate.commands.application_opcodes import OPERATE
from gate.files import SmallFiles
from gate.supervisor import Beat, Supervisor
from gate.tasks import Tasks
from sim_commands import data, device, offering

HEAP = "384k"

_QUIET_MS = 60


class Outbox:
    """Has nothing to send; says when it was asked to."""

    def __init__(self):
        self.flushed = 0
        self.on_flush = None

    async def flush(self, timeout_s):
        self.flushed += 1
        await asyncio.sleep(0)
        if self.on_flush:
            self.on_flush()


class Keeper:
    """Stands for telemetry and log: notes how many commands were answered when it was kept."""

    def __init__(self, taken):
        self._taken = taken
        self.answered = None

    def keep(self):
        self.answered = len(self._taken.outbox.results())

    save = keep


class Leaving:
    """As much of an Agent as leaves; its commands are those of a real device."""

    leave = Agent._leave

    def __init__(self, taken):
        self.commands = taken.commands
        self.outbox = Outbox()
        self.telemetry = Keeper(taken)
        self.log = Keeper(taken)

    def run(self, later=()):
        """Leaves while the command task runs; `later`: (after ms, function) each."""

        async def after(ms, function):
            await asyncio.sleep(ms / 1000)
            function()

        async def main():
            tasks = Tasks(Supervisor(None, None), None)
            tasks.work("commands", self.commands.run, 180, self.commands.work)
            others = [asyncio.create_task(after(ms, function)) for ms, function in later]
            await self.leave(Beat("reboot", 60), _QUIET_MS)
            idle = self.commands.idle
            while not self.commands.idle:  # a command that is cancelled only fails, and its task goes on
                await asyncio.sleep(0.01)
            for other in others + [task for _, task in tasks.live]:
                other.cancel()
            return idle

        true(asyncio.run(main()), "a command was waiting or at work")


async def slow(call, percent):
    await asyncio.sleep(_QUIET_MS * 3 / 1000)
    return {"percent": percent}


SLOW = {"valve.set": (slow, OPERATE, 10, False, {"percent": (int, 0, 100)})}


def test_nothing_to_finish():
    taken = device(SmallFiles(scratch.folder()))
    leaving = Leaving(taken)
    leaving.run()
    equal(leaving.outbox.flushed, 1)
    equal((leaving.telemetry.answered, leaving.log.answered), (0, 0))


def test_a_command_that_waits_is_answered_first():
    taken = device(SmallFiles(scratch.folder()))
    leaving = Leaving(taken)
    taken.commands.push(data("ping"))
    leaving.run()
    equal([message[2] for message in taken.outbox.results()], [0])
    equal(leaving.telemetry.answered, 1)


def test_a_command_at_work_is_waited_for():
    taken = device(SmallFiles(scratch.folder()))
    leaving = Leaving(taken)
    with offering(SLOW):
        taken.commands.push(data("argument"))
        leaving.run()
    equal([message[2] for message in taken.outbox.results()], [0])
    equal(leaving.telemetry.answered, 1)


def test_a_command_that_comes_meanwhile():
    # Also while the messages are sent, which may take longest.
    for late in ("quiet", "flush"):
        taken = device(SmallFiles(scratch.folder()))
        leaving = Leaving(taken)

        def push(taken=taken, leaving=leaving):
            leaving.outbox.on_flush = None
            taken.commands.push(data("ping"))

        if late == "flush":
            leaving.outbox.on_flush = push
            leaving.run()
        else:
            leaving.run([(_QUIET_MS // 2, push)])
        equal([message[2] for message in taken.outbox.results()], [0], late)
        equal(leaving.telemetry.answered, 1, late)


def test_who_sends_without_end_holds_no_reset_up():
    taken = device(SmallFiles(scratch.folder()))
    leaving = Leaving(taken)

    class Hurried(Beat):
        async def sleep(self, seconds):
            taken.commands.push(bytes(1025))
            await asyncio.sleep(0)

    asyncio.run(leaving.leave(Hurried("reboot", 60), 1000))
    true(100 <= leaving.outbox.flushed <= 200, "it ended after %d rounds" % leaving.outbox.flushed)
    equal(leaving.log.answered, 0)
