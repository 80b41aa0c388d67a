"""Messages larger than memory, in both directions: from and to a caller's buffer or file.

`mqtt` imports this when the first one comes or is published.

Coming: on_large(topic: str, size: int, retained: bool) gives the payload a place: a bytearray or
memoryview of at least size bytes, or something with write(view), such as a file; or None, and it
is dropped. When all has come, on_message(topic, place, retained) is called, with a memoryview of
the payload if the place is memory, and a message of QoS 1 is acknowledged after that. If the
connection ends before, a place with close() is closed, and a message of QoS 1 comes again.

A message that is wanted may take a millisecond a byte, one that is not no longer than an answer.
"""

from aiotcp import const, ticks_ms

from mqtt import packet as wire
from mqtt.packet import MqttError

_PIECE = const(512)  # bytes read from a reader and written at a time


async def recv(client):
    """The body of a PUBLISH, of which client.rx[client.start:client.end] is the start."""
    buf, kind, rest = client.rx, client.kind, client.size
    retained, confirmed = bool(kind & 1), kind & 0x06
    client.since = ticks_ms()
    client.patience = client.reply_ms
    await _have(client, 2)
    topic_size = 2 + (buf[client.start] << 8 | buf[client.start + 1])
    head = topic_size + (2 if confirmed else 0)
    whole = head  # with MQTT 5's properties, of which the length has up to four bytes
    fits = head + (4 if client.five else 0) <= len(buf)
    if fits and client.five:
        await _have(client, min(head + 4, rest))
        whole += client.five.span(client.start + head)
    if whole > rest or confirmed > 2:
        raise client.unexpected()
    place = None
    if fits and whole <= len(buf):
        await _have(client, whole)
        at = client.start
        stop = wire.parse_publish(buf, kind, at, at + head)
        if not stop:
            raise client.unexpected()
        more = ()
        if client.five:
            topic, _, more = client.five.message(stop, at + head, at + whole)
        else:
            topic = client.name(stop)
        rest -= whole
        if client.on_large:
            place = client.call(client.on_large, topic, rest, retained)
    else:  # a topic or properties that do not fit
        await _pour(client, topic_size, None)
        rest -= head
        await _have(client, head - topic_size)
        stop, whole = client.start, head - topic_size
    pid = buf[stop] << 8 | buf[stop + 1] if confirmed else 0
    client.start += whole
    if place is None:
        client.oversized += 1
        client.say("dropped a message of %d bytes" % client.size)
    else:
        client.patience += rest
    done = False
    try:
        place = await _pour(client, rest, place)
        done = True
    finally:
        if not done and hasattr(place, "close"):
            client.call(place.close)
    if place is not None and client.on_message:
        client.call(client.on_message, topic, place, retained, *more)
    if confirmed:
        client.acks.append(pid)
        client.work.set()
    client.patience = 0
    for item in client.window:
        item.since = ticks_ms()  # what was to be answered could not be, until now


async def _have(client, size):
    """Waits for the next `size` bytes; they must fit in the buffer."""
    while client.end - client.start < size:
        await client.read()


async def _pour(client, rest, place):
    """Moves `rest` bytes of the body to the place; returns it, None if it could not take them."""
    view = None
    if place is not None and not hasattr(place, "write"):
        view = memoryview(place)[:rest]
        if len(view) < rest:
            client.say("dropped %d bytes: there was room for %d" % (rest, len(view)))
            client.oversized += 1
            view = place = None
        at = 0
    faults = client.handler_errors
    while rest:
        size = min(rest, client.end - client.start)
        if size:
            part = client.rx[client.start : client.start + size]
            client.start += size
            if view:
                view[at : at + size] = part
            elif place is not None:
                client.call(place.write, part)
        elif view:
            size = await client.stream.readinto(view[at:])
            if not size:
                raise MqttError("lost", "the broker closed the connection")
        else:
            await client.read()
        if view:
            at += size
        rest -= size
        if client.handler_errors > faults and place is not None:  # a full disk, perhaps
            client.call(getattr(place, "close", str))
            place = None
    return view or place


async def send(client, item, properties, at):
    """The rest of a PUBLISH of which tx[:at] is the head: properties, and what a reader gives."""
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
        # Of a packet that is cut short only the end of the connection can free the broker.
        failure = MqttError("source", repr(error))
        client.done(item, failure)
        raise failure
