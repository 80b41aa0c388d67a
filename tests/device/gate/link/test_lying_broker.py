"""A broker that lies in every way, under the real MQTT client and agent: nothing it says ends the agent or bans an
image, and once it is right again telemetry goes on and a good offer is taken.
"""

from sim_peers import Broker, World, message, now  # noqa: I001 - first: it replaces the clock
from check import equal
from sim_gateway import envelope

HEAP = "48m"
TIMEOUT_S = 600
LIES_S = 400  # so long the broker lies
DOWN = "tg/gateway-1/down/"
WELCOME = b"\x20\x02\x00\x00"
CONNECT, SUBSCRIBE, PING = 0x10, 0x82, 0xC0


def at(kind, *said, end=False):
    """Answers packets of this kind with these bytes, `own` standing for the right answer before them."""

    def trick(broker, wire, got, body):
        if got & 0xF0 != kind & 0xF0:
            return False
        if said[:1] == (OWN,):
            broker.serve(wire, got, body)
        for part in said:
            if part is not OWN:
                wire.say(part)
        if end:
            wire.end()
        return True

    return trick


OWN = "own"


def welcomed(*said, end=False):
    return at(CONNECT, OWN, *said, end=end)


def down(name, payload, flags=0x30):
    return message(DOWN + name, payload, flags)


def refuses(broker, wire, kind, body):
    if kind != SUBSCRIBE:
        return False
    wire.say(b"\x90\x03" + body[:2] + b"\x80")
    return True


def grants(code):
    def trick(broker, wire, kind, body):
        if kind != SUBSCRIBE:
            return False
        wire.say(b"\x90\x03" + body[:2] + bytes((code,)))
        return True

    return trick


def drops(broker, wire, kind, body):
    """Takes everything, and answers the CONNECT only."""
    return kind != CONNECT


def drops_messages(broker, wire, kind, body):
    """Acknowledges what is published, and passes nothing on, in neither direction."""
    if kind & 0xF0 == 0x30:
        if kind & 6:
            size = 2 + (body[0] << 8 | body[1])
            wire.say(b"\x40\x02" + body[size : size + 2])
        return True
    if kind == SUBSCRIBE:
        wire.say(b"\x90\x03" + body[:2] + b"\x01")
        return True
    return False


def acknowledges_others(broker, wire, kind, body):
    if kind & 0xF6 == 0x32:
        wire.say(b"\x40\x02\xff\xf0", b"\x40\x02\xff\xf1")
        return True
    return False


def acknowledges_twice(broker, wire, kind, body):
    broker.serve(wire, kind, body)
    if kind & 6 == 2 and kind & 0xF0 == 0x30:
        broker.serve(wire, kind, body)
    return True


def closes_after(number):
    """Ends each connection at its number-th packet."""

    def trick(broker, wire, kind, body):
        wire.count = getattr(wire, "count", 0) + 1
        if wire.count >= number:
            wire.end()
            return True
        return False

    return trick


def half(kind):
    """Half of the right answer, then the end."""

    def trick(broker, wire, got, body):
        if got & 0xF0 != kind & 0xF0:
            return False
        wire.say({0x10: b"\x20\x02\x00", 0x80: b"\x90\x03" + body[:1], 0x30: b"\x40\x02\x00"}[kind & 0xF0])
        wire.end()
        return True

    return trick


def at_each(*said):
    """Everything is served, and at each packet but CONNECT it says more."""

    def trick(broker, wire, kind, body):
        broker.serve(wire, kind, body)
        if kind != CONNECT:
            for part in said:
                wire.say(part)
        return True

    return trick


def alternating(broker, wire, kind, body):
    """Old, new and withdrawn offers in turn, the retained flag or not, at each packet."""
    broker.serve(wire, kind, body)
    if kind != CONNECT:
        broker.turn = getattr(broker, "turn", 0) + 1
        name = ("patch", "third-patch", "image", None, "stranger")[broker.turn % 5]
        wire.say(down("offer", envelope(name) if name else b"", 0x30 + broker.turn % 2))
    return True


def replays(broker, wire, kind, body):
    """Says again what the device said, below down/."""
    broker.serve(wire, kind, body)
    if kind & 0xF0 == 0x30:
        size = 2 + (body[0] << 8 | body[1])
        for name in ("offer", "trust", "cmd", "offer/none", "other"):
            wire.say(down(name, body[size + 2 :]))
    return True


def backwards(broker, wire, kind, body):
    """Holds two answers, and gives them the wrong way round."""
    held = broker.held = getattr(broker, "held", [])
    if kind == CONNECT:
        held.clear()
        return False
    held.append((kind, body))
    if len(held) == 2:
        for kind, body in reversed(held):
            broker.serve(wire, kind, body)
        held.clear()
    return True


JUNK = (
    b"",
    b"\x00",
    b"\xff",
    b"\xd8\x6b\xa2",
    b"\xd8\x6b" + bytes(40),
    b"\x9f" * 200,
    b"{}",
    b"\xf9\x7e\x00",
    bytes(2000),
)
BIG = b"\x30" + b"\x90\x4e" + b"\x00\x03a/b" + bytes(9995)

LIES = (
    ("silent", at(CONNECT)),
    ("ends at once", at(CONNECT, end=True)),
    ("refuses by password", at(CONNECT, b"\x20\x02\x00\x05")),
    ("refuses by a code of its own", at(CONNECT, b"\x20\x02\x00\x7f")),
    ("says it has a session", at(CONNECT, b"\x20\x02\x01\x00")),
    ("CONNACK of MQTT 5", at(CONNECT, b"\x20\x03\x00\x00\x00")),
    ("CONNACK with properties", at(CONNECT, b"\x20\x06\x00\x00\x03\x21\x00\x14")),
    ("CONNACK twice", welcomed(WELCOME)),
    ("CONNACK late", at(CONNECT, 20_000, WELCOME)),
    ("CONNACK huge", at(CONNECT, b"\x20\xff\xff\xff\x7f")),
    ("half a CONNACK", half(CONNECT)),
    ("half a SUBACK", half(SUBSCRIBE)),
    ("half a PUBACK", half(0x30)),
    ("SUBACK first", at(CONNECT, b"\x90\x03\x00\x01\x01", WELCOME)),
    ("ends at SUBSCRIBE", at(SUBSCRIBE, end=True)),
    ("ends at PUBLISH", at(0x30, end=True)),
    ("ends at PINGREQ", at(PING, end=True)),
    ("ends at the 3rd packet", closes_after(3)),
    ("ends at the 8th packet", closes_after(8)),
    ("DISCONNECT of MQTT 5", welcomed(b"\xe0\x02\x8b\x00")),
    ("DISCONNECT", welcomed(b"\xe0\x00")),
    ("refuses subscriptions", refuses),
    ("grants QoS 2", grants(2)),
    ("grants nonsense", grants(0x55)),
    ("SUBACK to nobody", at(SUBSCRIBE, b"\x90\x03\xff\xff\x01")),
    ("SUBACK without a code", at(SUBSCRIBE, b"\x90\x02\x00\x01")),
    ("SUBACK of MQTT 5", at(SUBSCRIBE, b"\x90\x04\x00\x01\x00\x01")),
    ("drops all but CONNECT", drops),
    ("drops messages", drops_messages),
    ("no PUBACK", at(0x30)),
    ("acknowledges others", acknowledges_others),
    ("acknowledges twice", acknowledges_twice),
    ("PUBREC for PUBACK", at(0x30, b"\x50\x02\x00\x01")),
    ("PUBACK of MQTT 5", at(0x30, b"\x40\x03\x00\x01\x10")),
    ("answers backwards", backwards),
    ("no PINGRESP", at(PING)),
    ("PINGRESP for all", at_each(b"\xd0\x00")),
    ("PINGREQ", welcomed(PING.to_bytes(1, "big") + b"\x00")),
    ("old, new and withdrawn offers", alternating),
    ("replays what it heard", replays),
    ("junk offers", at_each(*[down("offer", part) for part in JUNK])),
    ("junk trust", at_each(*[down("trust", part) for part in JUNK])),
    ("junk commands", at_each(*[down("cmd", part) for part in JUNK])),
    ("junk with QoS 1", at_each(*[down("offer", part, 0x33) for part in JUNK])),
    ("empties", at_each(down("offer", b""), down("cmd", b""), down("trust", b""), down("offer/x", b""))),
    ("the offer as a command", at_each(down("cmd", envelope("patch")), down("trust", envelope("patch")))),
    ("an offer cut short", at_each(down("offer", envelope("patch")[:-1]), down("offer", envelope("patch")[:99]))),
    ("an offer and more", at_each(down("offer", envelope("patch") + b"\x00"))),
    ("a foreign key", at_each(down("offer", envelope("stranger")))),
    ("topics of others", at_each(message("tg/gateway-2/down/offer", envelope("patch")), message("x", b"y"))),
    ("its own topics", at_each(message("tg/gateway-1/up/state", b"\xa0"), message("$SYS/x", b"1"))),
    ("topics beside down/", at_each(down("", b"1"), down("offer/", b"1"), down("OFFER", b"1"), down("cmd/x", b"1"))),
    ("a wildcard topic", at_each(message("tg/+/down/#", b"1"))),
    ("a topic that is no text", at_each(b"\x30\x05\x00\x02\xc3\x28x")),
    ("a topic beyond the packet", at_each(b"\x30\x04\x00\x10ab")),
    ("QoS 2", at_each(down("offer", b"x", 0x34))),
    ("QoS 3", at_each(down("offer", b"x", 0x36))),
    ("identifier 0", at_each(b"\x32\x05\x00\x01a\x00\x00")),
    ("huge", at_each(BIG)),
    ("huge without end", welcomed(b"\x30\xff\xff\xff\x7f\x00\x03a/b" + bytes(50_000))),
    ("huge control packet", at_each(b"\x90\xff\xff\x7f")),
    ("a length of five bytes", at_each(b"\x30\xff\xff\xff\xff\x01")),
    ("type 0", at_each(b"\x00\x00")),
    ("type 15", at_each(b"\xf0\x00")),
    ("half a packet", at_each(b"\x30\x64\x00\x01")),
    ("HTTP", at(CONNECT, b"HTTP/1.1 400 Bad Request\r\n\r\n", end=True)),
    ("TLS", at(CONNECT, b"\x15\x03\x01\x00\x02\x02\x46", end=True)),
)  # fmt: skip

# After these the device cannot know that something is missing until there is a new connection.
FORGOTTEN = ("drops messages", "empties")


def told(name, lie, on_trial=False):
    """One lie: what went wrong after it, "" if all is well."""
    lied, over, ended = [], [], []

    def trick(broker, wire, kind, body):
        boots = world.boots
        if over or boots[-1][2] != on_trial or now() > LIES_S * 1000:
            return False
        trials = sum(1 for boot in boots if boot[2])
        if on_trial and trials > 1:
            return False
        lied.append(kind)
        return lie(broker, wire, kind, body)

    def after(broker, wire, kind, body):
        """An honest broker brings what it retains with each connection, and such a one may have lost it."""
        if name in FORGOTTEN and lied and not over and not ended and now() > LIES_S * 1000:
            ended.append(True)
            wire.end()
            return True
        return trick(broker, wire, kind, body)

    world = World(Broker(after))
    try:
        world.flash(1)

        def wanted(topic, what):
            phase = what.get(-258) if topic == "report" and isinstance(what, dict) else None
            return phase == 6  # of whichever was offered last

        world.offer = envelope("patch")
        try:
            world.run(wanted=wanted, boots=8)
        except Exception as error:
            return "%s: %s: %r" % (name, type(error).__name__, error)
        over.append(True)
        problems = []
        if not lied:
            problems.append("it never lied")
        if len(world.boots) > (4 if on_trial else 2):
            problems.append("boots %r" % (world.boots,))
        failed = [m for t, m in world.heard if t == "alarm" and "task" in str(m)]
        if failed:
            problems.append("a task failed: %r" % failed[:1])
        before = len(world.telemetry())
        world.idle(120)
        if len(world.telemetry()) < before + 5:
            problems.append("%d messages of telemetry afterwards" % (len(world.telemetry()) - before))
        return ", ".join(["%s: %s" % (name, problem) for problem in problems])
    finally:
        world.close()


def test_every_lie_passes():
    wrong = [told(name, lie) for name, lie in LIES]
    equal([text for text in wrong if text], [])


def test_no_lie_in_a_trial_bans_the_image():
    # Of a broker that acknowledges and drops, no confirmation is heard.
    wrong = [told(name, lie, True) for name, lie in LIES if name != "drops messages"]
    equal([text for text in wrong if text], [])
