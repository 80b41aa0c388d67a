"""ETSI's CoAP plugtest cases (TD_COAP_*), what must be seen on the wire, and which pairs of peers go through them.

python tests/interop/support/coap_cases.py          prints the table of docs/coap.md
python tests/interop/support/coap_cases.py --write  writes it there
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiocoap import Message
from coap_relay import Lose, Packet, Relay
from patience import limit

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "coap.md"
BEGIN, END = "<!-- table: tests/interop/support/coap_cases.py -->", "<!-- end of table -->"

CASES = {
    "core_01": "GET, CON",
    "core_02": "DELETE, CON",
    "core_03": "PUT, CON",
    "core_04": "POST, CON",
    "core_05": "GET, NON",
    "core_06": "DELETE, NON",
    "core_07": "PUT, NON",
    "core_08": "POST, NON",
    "core_09": "GET with separate response",
    "core_10": "token",
    "core_11": "token, separate response",
    "core_12": "empty token",
    "core_13": "several Uri-Path",
    "core_14": "several Uri-Query",
    "core_15": "lossy, piggybacked",
    "core_16": "lossy, separate response",
    "core_17": "separate response, NON",
    "core_18": "several Location-Path",
    "core_19": "several Location-Query",
    "core_20": "Accept",
    "core_21": "ETag, validation",
    "core_22": "ETag and If-Match",
    "core_23": "If-None-Match",
    "core_31": "ping",
    "block_01": "GET large, early negotiation",
    "block_02": "GET large, late negotiation",
    "block_03": "PUT large",
    "block_04": "POST large, creating",
    "block_05": "POST large, both ways",
    "block_06": "GET large, 16-byte blocks",
    "obs_01": "observe, CON",
    "obs_02": "observe, NON",
    "obs_04": "client notices the end by Max-Age",
    "obs_05": "server drops a silent client",
    "obs_06": "server drops a client that resets",
    "obs_07": "cleanup on DELETE",
    "obs_08": "cleanup on another content format",
    "obs_09": "update of what is observed",
    "obs_10": "a plain GET does not cancel",
    "obs_11": "observe, lossy",
    "obs_12": "GET with Observe=1 cancels",
    "obs_13": "large, observed",
    "obs_14": "of changing size, observed",
    "link_01": "/.well-known/core",
    "link_02": "filter rt=Type1",
    "link_03": "filter rt=*",
    "link_04": "several values of rt",
    "link_05": "filter if=If*",
    "link_06": "filter sz=*",
    "link_07": "filter href, exact",
    "link_08": "filter href, prefix",
    "link_09": "hierarchical links",
}

CLIENT_AIOCOAP = "our client, aiocoap"
CLIENT_LIBCOAP = "our client, libcoap"
SERVER_AIOCOAP = "aiocoap, our server"
SERVER_LIBCOAP = "libcoap, our server"
PAIRS = (CLIENT_AIOCOAP, CLIENT_LIBCOAP, SERVER_AIOCOAP, SERVER_LIBCOAP)

_NO_RESOURCE = "its server has no such resource"
# Why a pair does not go through a case. Every case of a pair is either here or a test.
REASONS: dict[str, dict[str, str]] = {
    CLIENT_AIOCOAP: {
        "obs_05": "what the server does with a silent client; for ours see the columns of our server",
        **{f"link_0{n}": "the server's part only; our client has no parser of links" for n in range(1, 10)},
    },
    CLIENT_LIBCOAP: {
        "core_04": "its server creates by PUT only; its POST changes what exists (2.04), as in BLOCK_04",
        "core_08": "its server creates by PUT only; its POST changes what exists (2.04), as in BLOCK_04",
        "core_18": _NO_RESOURCE,
        "core_19": _NO_RESOURCE,
        "core_20": "its server does not look at Accept",
        "core_21": "its ETags are only for blocks: it does not answer 2.03",
        "core_22": "its server does not look at If-Match",
        "core_23": "its server does not look at If-None-Match",
        "block_05": "its server does not answer a POST with a body",
        "obs_04": "its server has no way to forget an observer",
        "obs_05": "what the server does with a silent client; for ours see the columns of our server",
        "obs_08": "its server never changes a format",
        **{f"link_0{n}": "the server's part only; our client has no parser of links" for n in range(1, 10)},
    },
    SERVER_AIOCOAP: {
        "core_12": "aiocoap always has a token; with our own client it passes",
        "obs_04": "the client's part: aiocoap does not register again",
        "obs_12": "aiocoap cancels by a reset of the next notification (OBS_06)",
    },
    SERVER_LIBCOAP: {
        "core_12": "coap-client always has a token; with our own client it passes",
        "obs_04": "the client's part: coap-client does not register again",
        "obs_06": "coap-client never resets a notification",
        "obs_10": "coap-client does one thing at a time",
    },
}

Check = Callable[[list[Packet]], None]


def _exactly(*wanted: str) -> Check:
    def check(packets: list[Packet]) -> None:
        assert [str(packet) for packet in packets] == list(wanted)

    return check


def piggybacked(method: str, code: str) -> Check:
    return _exactly(f"> CON {method}", f"< ACK {code}")


def non(method: str, code: str) -> Check:
    return _exactly(f"> NON {method}", f"< NON {code}")


SEPARATE = _exactly("> CON GET", "< ACK", "< CON 2.05", "> ACK")


def requests(packets: list[Packet]) -> list[Message]:
    return [packet.message for packet in packets if packet.up and packet.message.code.is_request()]


def responses(packets: list[Packet]) -> list[Message]:
    return [packet.message for packet in packets if not packet.up and packet.message.code.is_response()]


def tokens(size: int | None) -> Check:
    """The token comes back; it is of that size, or at least not empty."""

    def check(packets: list[Packet]) -> None:
        sent = {message.token for message in requests(packets)}
        assert sent == {message.token for message in responses(packets)}
        assert all(len(token) == size if size is not None else token for token in sent), sent

    return check


def both(*checks: Check) -> Check:
    def check(packets: list[Packet]) -> None:
        for each in checks:
            each(packets)

    return check


def uri(path: tuple[str, ...], query: tuple[str, ...] = ()) -> Check:
    def check(packets: list[Packet]) -> None:
        [request] = requests(packets)
        assert (request.opt.uri_path, request.opt.uri_query) == (path, query)

    return check


def got(exponent: int, early: bool) -> Check:
    """A body in blocks of that size, whose first request names it (early) or not."""

    def check(packets: list[Packet]) -> None:
        asked = [message.opt.block2 for message in requests(packets)]
        told = [message.opt.block2 for message in responses(packets)]
        assert len(told) > 1
        assert (asked[0] is not None) == early
        assert {block.size_exponent for block in told} == {exponent}
        assert [block.block_number for block in told] == list(range(len(told)))
        assert [block.block_number for block in asked[1:]] == list(range(1, len(told)))
        assert [block.more for block in told] == [True] * (len(told) - 1) + [False]

    return check


def given(packets: list[Packet]) -> None:
    """A body sent in blocks, each but the last answered with 2.31."""
    sent = [message for message in requests(packets) if message.opt.block1 is not None]
    asked = {message.token for message in sent}
    answers = [message for message in responses(packets) if message.token in asked]
    assert len(sent) > 1 and len(answers) >= len(sent)
    assert [message.opt.block1.more for message in sent] == [True] * (len(sent) - 1) + [False]
    assert {message.code.dotted for message in answers[: len(sent) - 1]} == {"2.31"}
    starts = [message.opt.block1.block_number << message.opt.block1.size_exponent for message in sent]
    assert starts == sorted(set(starts)) and starts[0] == 0


def notified(kind: str | None, most: int = 3) -> Check:
    """Notifications of that kind, with rising numbers; confirmable ones are acknowledged, or reset at the end."""

    def check(packets: list[Packet]) -> None:
        assert any(message.opt.observe == 0 for message in requests(packets))
        notes = [packet.message for packet in packets if not packet.up and packet.message.opt.observe is not None]
        alone = [message for message in notes if message.mtype.name != "ACK"]
        assert len(alone) >= most, [str(packet) for packet in packets]
        numbers = [message.opt.observe for message in notes]
        assert sorted(set(numbers)) == [number for at, number in enumerate(numbers) if number not in numbers[:at]]
        if kind:  # of those that are not, some are confirmable all the same, to see whether the client is there
            assert {message.mtype.name for message in alone[:most]} == {kind}
        answered = {packet.message.mid for packet in packets if packet.up and packet.message.code == 0}
        assert {message.mid for message in alone if message.mtype.name == "CON"} <= answered

    return check


def reset(packets: list[Packet]) -> None:
    """The client resets a notification, and there is none after it."""
    assert "> RST" in [str(packet) for packet in packets]
    at = max(packet.index for packet in packets if str(packet) == "> RST")
    resets = [packet for packet in packets if str(packet) == "> RST"]
    assert len(resets) == 1 and resets[0].index == at
    after = packets[packets.index(resets[0]) + 1 :]
    assert not [packet for packet in after if not packet.up and packet.message.opt.observe is not None]


def ended(code: str) -> Check:
    """A last notification with that code and without Observe."""

    def check(packets: list[Packet]) -> None:
        last = [message for message in responses(packets) if message.code.dotted == code]
        assert last and all(message.opt.observe is None for message in last)
        watched = next(message for message in requests(packets) if message.opt.observe == 0)
        assert last[0].token == watched.token

    return check


def cancelled(packets: list[Packet]) -> None:
    """GET with Observe=1 and the same token; no notification after its answer."""
    [stop] = [packet for packet in packets if packet.up and packet.message.opt.observe == 1]
    assert stop.message.token in {message.token for message in requests(packets) if message.opt.observe == 0}
    after = packets[packets.index(stop) + 1 :]
    notes = [packet.message for packet in after if not packet.up and packet.message.opt.observe is not None]
    assert not [message for message in notes if message.mtype.name != "ACK"]


def blocks_of_notification(packets: list[Packet]) -> None:
    """A notification with the first block; the client asks for the others, without Observe."""
    firsts = [m for m in responses(packets) if m.opt.observe is not None and m.opt.block2 and m.opt.block2.more]
    rest = [m for m in requests(packets) if m.opt.block2 is not None and m.opt.block2.block_number]
    assert len(firsts) > 1 and rest and all(m.opt.observe is None for m in rest)


def lossy(packets: list[Packet]) -> None:
    assert sum(packet.lost for packet in packets) >= 2
    sent = [packet.message.mid for packet in packets if packet.up and packet.message.code.is_request()]
    assert len(sent) > len(set(sent))  # repeated under the same id


def pinged(packets: list[Packet]) -> None:
    """An empty confirmable message is reset."""
    pings = [packet.message.mid for packet in packets if str(packet) == "> CON"]
    assert pings and pings == [packet.message.mid for packet in packets if str(packet) == "< RST"]


SEEN: dict[str, Check] = {
    "core_01": piggybacked("GET", "2.05"),
    "core_02": piggybacked("DELETE", "2.02"),
    "core_03": piggybacked("PUT", "2.04"),
    "core_04": piggybacked("POST", "2.01"),
    "core_05": non("GET", "2.05"),
    "core_06": non("DELETE", "2.02"),
    "core_07": non("PUT", "2.04"),
    "core_08": non("POST", "2.01"),
    "core_09": SEPARATE,
    "core_10": both(piggybacked("GET", "2.05"), tokens(None)),
    "core_11": both(SEPARATE, tokens(None)),
    "core_12": both(piggybacked("GET", "2.05"), tokens(0)),
    "core_13": uri(("seg1", "seg2", "seg3")),
    "core_14": uri(("query",), ("first=1", "second=2", "third=3")),
    "core_15": _exactly("> CON GET (lost)", "> CON GET", "< ACK 2.05 (lost)", "> CON GET", "< ACK 2.05"),
    "core_16": lossy,
    "core_17": non("GET", "2.05"),
    "core_31": pinged,
    "block_01": got(5, True),
    "block_02": got(6, False),
    "block_03": given,
    "block_04": given,
    "block_05": given,
    "block_06": got(0, True),
    "obs_01": notified("CON"),
    "obs_02": notified("NON"),
    "obs_06": reset,
    "obs_07": ended("4.04"),
    "obs_08": ended("4.06"),
    "obs_11": lossy,
    "obs_12": cancelled,
    "obs_13": blocks_of_notification,
    "obs_14": notified(None),
}


def look(case: str, relay: Relay) -> None:
    """What passed is what the case is about; the last packet may still be on its way when a peer has ended."""
    check = SEEN.get(case)
    deadline = time.monotonic() + limit(2)
    while check:
        try:
            check(list(relay.packets))
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{error}\non the wire:\n" + "\n".join(relay.transcript)) from error
            time.sleep(0.05)
        else:
            return


def lose_first(*whats: str) -> Lose:
    """Loses the first packet of each kind, such as "> CON GET"."""
    left = list(whats)

    def lose(packet: Packet) -> bool:
        text = str(packet)
        if text in left:
            left.remove(text)
            return True
        return False

    return lose


# Cases in which something is repeated: with a shorter time to it than RFC 7252's, which a busy machine could exceed.
HASTY = ("core_15", "core_16", "obs_05", "obs_11")
HASTE_S = 0.3


def losses(case: str) -> Lose | None:
    """What is lost in this case: anew for each run of it."""
    return {
        "core_15": lambda: lose_first("> CON GET", "< ACK 2.05"),
        "core_16": lambda: lose_first("> CON GET", "< ACK", "< CON 2.05", "> ACK"),
        "obs_11": lambda: lose_first("> CON GET", "< CON 2.05", "> ACK"),
    }.get(case, lambda: None)()


def table(tested: dict[str, set[str]]) -> str:
    """Markdown: a row a case, a column a pair, the reasons below. tested: the cases of each pair that are tests."""
    reasons: list[str] = []
    lines = ["| case | what | " + " | ".join(PAIRS) + " |", "|---|---|" + "---|" * len(PAIRS)]
    for case, title in CASES.items():
        cells = []
        for pair in PAIRS:
            reason = REASONS[pair].get(case)
            if case in tested[pair] and not reason:
                cells.append("pass")
                continue
            assert reason and case not in tested[pair], f"{pair}: {case} must be either a test or have a reason"
            if reason not in reasons:
                reasons.append(reason)
            cells.append(f"– ({reasons.index(reason) + 1})")
        lines.append(f"| {case.upper()} | {title} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines)


def tested() -> dict[str, set[str]]:
    """The cases that each pair's test file runs."""
    import test_coap_client
    import test_coap_server

    return {
        CLIENT_AIOCOAP: set(test_coap_client.AIOCOAP),
        CLIENT_LIBCOAP: set(test_coap_client.LIBCOAP),
        SERVER_AIOCOAP: set(test_coap_server.AIOCOAP),
        SERVER_LIBCOAP: set(test_coap_server.LIBCOAP),
    }


def written() -> str:
    """The table as it is in the document."""
    return DOCUMENT.read_text().split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    made = table(tested())
    if "--write" in sys.argv:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}")
    else:
        print(made)
