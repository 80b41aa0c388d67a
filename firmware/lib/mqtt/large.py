"""Messages larger than memory, in both directions: from and to a caller's buffer or file.

`mqtt` imports this when the first one comes or is published.

Received: on_large(topic: str, size: int, retained: bool) returns a target for the payload: a
bytearray or memoryview of at least size bytes, or an object with write(view), such as a file; or
None, to drop it. When all has come, on_message(topic, target, retained) is called, with a
memoryview of the payload if the target is memory, and a message of QoS 1 is acknowledged after
that. If the connection ends before, a target with close() is closed, and a message of QoS 1 comes
again.

A message with a target may take a millisecond a byte, one without only as long as an answer.
"""

from aiotcp import const, ticks_ms

from mqtt import packet as wire
from mqtt.packet import MqttError

_PIECE = const(512)  # bytes read from a reader and written at a time


async def recv(client):
    """Receives the body of a PUBLISH, which begins with client.rx[client.start:client.end]."""
    buf, kind, rest = client.rx, client.kind, client.size
    retained, confirmed = bool(kind & 1), kind & 0x06
    client.since = ticks_ms()
    client.packet_ms = client.reply_ms
    await _have(client, 2)
    topic_size = 2 + (buf[client.start] << 8 | buf[client.start + 1])
    head = topic_size + (2 if confirmed else 0)
    whole = head  # with MQTT 5's properties, of which the length has up to four bytes
    fits = head + (4 if client.v5 else 0) <= len(buf)
    if fits and client.v5:
        await _have(client, min(head + 4, rest))
        whole += client.v5.span(client.start + head)
    if whole > rest or confirmed > 2:
        raise client.unexpected()
    target = None
    if fits and whole <= len(buf):
        await _have(client, whole)
        at = client.start
        stop = wire.parse_publish(buf, kind, at, at + head)
        if not stop:
            raise client.unexpected()
        more = ()
        if client.v5:
            topic, _, more = client.v5.message(stop, at + head, at + whole)
        else:
            topic = client.name(stop)
        rest -= whole
        if client.on_large:
            target = client.call(client.on_large, topic, rest, retained)
    else:  # a topic or properties that do not fit
        await _pour(client, topic_size, None)
        rest -= head
        await _have(client, head - topic_size)
        stop, whole = client.start, head - topic_size
    pid = buf[stop] << 8 | buf[stop + 1] if confirmed else 0
    client.start += whole
    if target is None:
        client.oversized += 1
        client.say_often(client.oversized, "dropped a message of %d bytes" % client.size)
    else:
        client.packet_ms += rest
    done = False
    try:
        target = await _pour(client, rest, target)
        done = True
    finally:
        if not done and hasattr(target, "close"):
            client.call(target.close)
    if target is not None and client.on_message:
        client.call(client.on_message, topic, target, retained, *more)
    if confirmed:
        client.acks.append(pid)
        client.work.set()
    client.packet_ms = 0
    for item in client.window:
        item.since = ticks_ms()  # the broker could not answer before


async def _have(client, size):
    """Waits for the next `size` bytes; they must fit in the buffer."""
    while client.end - client.start < size:
        await client.read()


async def _pour(client, rest, target):
    """Moves `rest` bytes of the body to the target; returns it, or None if it failed."""
    view = None
    if target is not None and not hasattr(target, "write"):
        view = memoryview(target)[:rest]
        if len(view) < rest:
            client.say("dropped %d bytes: there was room for %d" % (rest, len(view)))
            client.oversized += 1
            view = target = None
        at = 0
    faults = client.handler_errors
    while rest:
        size = min(rest, client.end - client.start)
        if size:
            part = client.rx[client.start : client.start + size]
            client.start += size
            if view:
                view[at : at + size] = part
            elif target is not None:
                client.call(target.write, part)
        elif view:
            size = await client.stream.readinto(view[at:])
            if not size:
                raise MqttError("lost", "the broker closed the connection")
        else:
            await client.read()
        if view:
            at += size
        rest -= size
        if client.handler_errors > faults and target is not None:  # a full disk, perhaps
            client.call(getattr(target, "close", str))
            target = None
    return view or target


async def send(client, item, properties, at):
    """Sends the rest of a PUBLISH whose head is tx[:at]: properties, and the reader's bytes."""
    tx, stream, reader, rest = client.tx, client.stream, item.payload, item.size
    await stream.write(tx[:at])
    await stream.write(properties)
    buf = memoryview(bytearray(_PIECE))
    try:
        if item.confirmed:
            reader.seek(item.start)
        while rest:
            size = reader.readinto(buf[: min(rest, _PIECE)])
            if not size:
                raise ValueError("%d bytes too few" % rest)
            rest -= size
            await stream.write(buf[:size])
    except Exception as error:
        if stream.writing:
            raise
        # The broker waits for the rest of the packet until the connection ends.
        failure = MqttError("source", repr(error))
        client.done(item, failure)
        raise failure
