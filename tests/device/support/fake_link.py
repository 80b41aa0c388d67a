"""What tasks that send are tried with: a link that can be away, a clock that stands still, a quick beat."""

import asyncio

from gate import LinkError
from gate.supervisor import Beat


class Link:
    """A connection that can be away, and can lose the answer to a publish."""

    def __init__(self):
        self.connected = True
        self.sent = []
        self.lose = 0  # publishes that fail, from the next on
        self.before = None  # called in the middle of a publish

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        await asyncio.sleep(0)
        if self.before:
            self.before()
        if not self.connected or self.lose:
            self.lose = max(0, self.lose - 1)
            raise LinkError("no answer")
        self.sent.append((topic, bytes(payload)))


class Uptime:
    def __init__(self):
        self.now = 0

    def seconds(self):
        return self.now


class QuickBeat(Beat):
    """Sleeps no longer than one turn of the loop."""

    async def sleep(self, seconds):
        self()
        await asyncio.sleep(0)


def run(*coroutines, turns=400):
    """Runs the coroutines for a while, then ends them."""

    async def main():
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())
