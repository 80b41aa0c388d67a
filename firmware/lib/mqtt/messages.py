"""Messages in a loop, for who would rather ask for the next one than be called.

    messages = Messages(client)
    async for topic, payload, retained in messages:
        print(topic, payload)

Imported by those who want it: the client knows nothing of it.
"""

from asyncio import Event


class Messages:
    """The messages of a Client, in their order: an asynchronous iterator without an end.

    It takes the place of `on_message`. Each is (topic, payload, retained), of MQTT 5 with the
    properties as a fourth; the payload is bytes of its own, or what on_large gave.

    most: messages that wait for the loop. One more drops the oldest and counts it in `dropped`.
    A message of QoS 1 is acknowledged when it is taken in, before the loop sees it.
    """

    def __init__(self, client, most=8):
        if most < 1:
            raise ValueError("most is a whole number from 1, not %r" % most)
        self.dropped = 0
        self._most = most
        self._waiting = []
        self._more = Event()
        client.on_message = self._take

    def _take(self, topic, payload, *more):
        if len(self._waiting) == self._most:
            self._waiting.pop(0)
            self.dropped += 1
        if isinstance(
            payload, memoryview
        ):  # the client's buffer, which the next message is put in
            payload = bytes(payload)
        self._waiting.append((topic, payload) + more)
        self._more.set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        return self._waiting.pop(0)
