"""The beat of a task that no supervisor watches."""

import asyncio


class Beat:
    """waited: the seconds of its pauses, which take no time."""

    def __init__(self):
        self.waited = []

    def __call__(self):
        pass

    async def wait(self, event):
        await event.wait()
        event.clear()

    async def sleep(self, seconds):
        self.waited.append(seconds)
        await asyncio.sleep(0)
