"""What a rollout in waves is declared to be, read from text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tidegate.errors import TidegateError
from tidegate.rollout import place, selector, terms, watch, waves, window


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_a_place_is_the_same_for_ever():
    assert place("tidegate-gateway/7", "gw-1") == 0xA445AD07
    places = [place("p/1", f"gw-{n}") for n in range(4000)]
    assert 340 < sum(one < waves.parse("10%")[0].bound for one in places) < 460
    assert places != [place("p/2", f"gw-{n}") for n in range(4000)], "another release has other devices first"
    assert waves.parse("100%")[0].bound > max(places)


@pytest.mark.parametrize("text", ["1%,10%,50%,100%", "canary,5,50,100%", "group:7,0.5%", "10"])
def test_waves(text):
    assert ",".join(map(str, waves.parse(text))) == text


@pytest.mark.parametrize("text", ["", "0%", "101%", "10%,5%", "5,5", "a,a", "-1", "Z", "1%,", "50%,50%"])
def test_wrong_waves(text):
    with pytest.raises(TidegateError) as wrong:
        waves.parse(text)
    assert "1%,10%,50%,100%" in wrong.value.remedy


def test_selectors():
    found = selector.parse("board=unix|esp32,group!=lab,label.site=vienna,seen<24h,sequence>3,version=1.0.0")
    assert [(one.field, one.sign) for one in found.terms] == [
        ("board", "="),
        ("group", "!="),
        ("label", "="),
        ("seen", "<"),
        ("sequence", ">"),
        ("version", "="),
    ]
    assert found.terms[0].values == ("unix", "esp32") and found.terms[2].key == "site"
    assert found.terms[3].number == 86400 and selector.parse("all").terms == ()


@pytest.mark.parametrize("text", ["", "bord=unix", "board", "board<unix", "seen=1h", "seen<x", "label=x", "x;drop=1"])
def test_wrong_selectors(text):
    with pytest.raises(TidegateError):
        selector.parse(text)


def test_a_window_in_its_own_time_zone():
    office = window.parse("Mon-Fri 09:00-16:00 Europe/Vienna")
    assert office.is_open(ms("2026-11-30T08:00:00")) and not office.is_open(ms("2026-11-30T07:59:00"))
    assert not office.is_open(ms("2026-11-29T10:00:00")), "a Sunday"
    assert office.opens_next(ms("2026-11-28T12:00:30")) == ms("2026-11-30T08:00:00")
    assert window.parse("Mon-Fri 09:00-16:00 Europe/Vienna").is_open(ms("2026-07-01T07:00:00")), "summer time"
    night = window.parse("Fri 22:00-04:00")
    assert night.is_open(ms("2026-11-28T03:59:00")) and not night.is_open(ms("2026-11-27T03:00:00"))
    for wrong in ("9-16", "Mon 09:00-09:00", "Xxx 09:00-10:00", "09:00-25:00", "09:00-10:00 Europe/Nowhere", "../x"):
        with pytest.raises(TidegateError):
            window.parse(wrong)


def test_what_is_watched():
    heap = watch.parse("heap<10%")
    assert (
        heap.loss(80, 100, 100, 100) == 1 and heap.loss(95, 100, 100, 100) == 0 and heap.loss(100, 80, 100, 100) == -1
    )
    assert watch.parse("temperature>2").loss(25, 20, 20, 20) == 1
    assert str(heap) == "heap<10%" and str(watch.parse("crashes")) == "crashes"
    assert str(watch.parse("restarts")) == "restarts" and watch.parse("restarts").loss(1, 0, 0, 0) == 1
    for wrong in ("heap", "heap<", "crashes>1", "restarts>1", "x<y"):
        with pytest.raises(TidegateError):
            watch.parse(wrong)


def test_terms_are_what_their_document_says():
    words = {"to": "group=canary", "waves": "5,100%", "soak": "30m", "max_failures": "2%,5", "rate": "100/min"}
    found = terms.parse({**words, "window": "22:00-04:00", "watch": ["crashes", "heap<10%"], "manual": True})
    assert terms.parse(found.document()) == found
    assert terms.parse({"to": "all"}).document()["waves"] == "1%,10%,50%,100%"
    for wrong in (
        {},
        {"to": "all", "wave": "5"},
        {"to": "all", "max_failures": "some"},
        {"to": "all", "rate": "9"},
        {"to": "all", "min_sample": 0},
        {"to": "all", "error": 0.9},
        {"to": "all", "watch": ["crashes", "crashes"]},
    ):
        with pytest.raises(TidegateError):
            terms.parse(wrong)
