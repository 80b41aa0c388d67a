"""Publishes 0, 1, 2... with QoS 1 to itself and watches what comes back:
PORT USER PASSWORD NAME VERSION COUNT KILLS

Prints "up N" at each connection, "at N" as the stream goes on, and at the end "end" with: one above
the last message, how many are missing, how many first came after a later one, how many came again,
the furthest back of those, connections, those with a session kept, heap in use early and late.
"""

import asyncio
import gc
import sys

from mqtt import Client

PUBLISHERS = 6  # more than the window of 4: some always wait
SAY = 50  # messages
AHEAD = 150  # messages beyond the next kill's place, then a fast broker's stream waits to be killed

port, user, password, name, version, count, kills = sys.argv[1:]
count = int(count)
kills = int(kills)
topic = "stream/" + name


class Stream:
    def __init__(self):
        self.next = 0
        self.missing = []
        self.late = 0
        self.again = 0
        self.furthest = 0
        self.kept = 0

    def message(self, topic, payload, retained, properties=None):
        number = int(bytes(payload))
        if number in self.missing:
            self.missing.remove(number)
            self.late += 1
            return
        if number < self.next:
            self.again += 1
            self.furthest = max(self.furthest, self.next - number)
            return
        self.missing.extend(range(self.next, number))
        self.next = number + 1
        if self.next % SAY == 0:
            print("at", self.next)

    def connected(self, present):
        self.kept += present
        print("up", self.next)


def heap():
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


async def main():
    stream = Stream()
    client = Client(
        name,
        "127.0.0.1",
        int(port),
        user,
        password,
        clean=False,
        version=int(version),
        max_packet=1024,
        on_message=stream.message,
        on_connect=stream.connected,
        properties={0x11: 600} if version == "5" else None,  # session expiry
    )
    client.backoff_base_ms = client.backoff_cap_ms = 40
    running = asyncio.create_task(client.run())
    await client.wait_connected()
    await client.subscribe(topic, 1)
    numbers = iter(range(count))

    def ahead():
        return count * client.sessions // (kills + 2) + AHEAD

    async def publisher():
        for number in numbers:
            while client.sessions <= kills and number > ahead():
                await asyncio.sleep(0.002)
            await client.publish(topic, str(number), 1)

    publishers = [asyncio.create_task(publisher()) for _ in range(PUBLISHERS)]
    while stream.next < count // 10:
        await asyncio.sleep(0.05)
    early = heap()
    for task in publishers:
        await task
    for _ in range(200):
        if stream.next >= count:
            break
        await asyncio.sleep(0.05)
    late = heap()
    client.disconnect()
    await running
    print(
        "end",
        stream.next,
        len(stream.missing),
        stream.late,
        stream.again,
        stream.furthest,
        client.sessions,
        stream.kept,
        early,
        late,
    )


asyncio.run(main())
