"""The status page in a real browser: what people see with and without a token, live, and while the server is away."""

from __future__ import annotations

from collections.abc import Iterator

import programs
import pytest
from device_commands import send, signed
from headless import Browser
from server_process import eventually

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        programs.find("chromium") is None, reason="there is no chromium; Debian: apt-get install chromium"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


def test_without_a_token_and_with_a_wrong_one(shared, browser):
    browser.open(shared.url)
    assert "tidegate token new" in browser.wait("A token is needed")
    browser.open(f"{shared.url}/#token=nonsense")
    browser.wait("The token is not valid")
    publisher = shared.token_for("publish")["Authorization"].split()[1]
    browser.open(f"{shared.url}/#token={publisher}")
    browser.wait("The token may not read this")
    # A person types one into the form.
    browser.ask(f"document.getElementById('token').value = {shared.token!r}")
    browser.ask("document.querySelector('#door-form button').click()")
    browser.wait("live")
    assert shared.token not in browser.ask("document.documentElement.outerHTML")


def test_it_shows_the_fleet_and_keeps_itself_current(start, ring, browser):
    server = start()
    device = server.device("gw-page")
    device.born("1.0.0", 1)
    browser.open(f"{server.url}/#token={server.token}")
    text = browser.wait("gw-page")
    for words in (
        "1 of 1 online",
        "MQTT",
        "1.0.0",
        "#1",
        "tidegate-gateway",
        "power-on",
        "version 1",
        "s ago",
        "None published yet.",
    ):
        assert words in text, words
    assert browser.ask("location.href") == f"{server.url}/", "the token leaves the address bar"

    for value in (20.5, 21.25, 22.75):
        device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-page:", 0: "temperature", 1: "Cel", 2: value}])
    browser.wait("22.75 °C")
    assert browser.ask("document.querySelectorAll('.spark polyline').length") == 1
    device.report(2, 2, 1, 0, progress=[512, 2048])
    browser.wait("25 % of 2.0 KiB")
    assert browser.ask("document.querySelector('progress').value") == 512
    evil = "<img src=x onerror='document.title=\"owned\"'>"
    device.say("alarm", {1: "crash", 2: "exception", 3: evil})
    browser.wait(evil)
    assert browser.ask("document.title") == "Tidegate" and browser.ask("document.images.length") == 1
    trace = 'Traceback (most recent call last):\n  File "/rom/app/valve.py", line 7\nOSError: 19\ntask sensors'
    device.say("alarm", {1: "crash", 2: "OSError", 3: "ENODEV", 6: trace})
    browser.wait("OSError")
    browser.ask("document.querySelector('.crash summary').click()")
    browser.wait("line 7\nOSError: 19\ntask sensors")
    device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-page:", -257: 9, -258: 4, 0: "temperature", 2: 23.5}])
    browser.wait("env 4 packs, 4 lost")
    assert "line 7" in browser.text(), "what was opened stays open when the page is drawn anew"
    send(server, "gw-page", signed(ring, "gw-page", 1, "log.tail"))
    assert device.wait_heard("cmd")
    browser.wait("pending → verified → uplinked")
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 3, 5: [0, True], 6: "one line\n"})
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 1, 4: "ValueError: no such log", 5: [1, False]})
    text = browser.wait("pending → verified → uplinked → confirmed")
    assert "ValueError: no such log" in text and "failed" in text and "9 B of output" in text
    browser.ask("document.querySelector('#commands summary').click()")
    assert "by device gw-page" in browser.wait("taken by the broker")
    device.vanish()
    browser.wait("0 of 1 online")
    assert browser.complaints == [], "neither script errors nor breaches of the content security policy"

    server.stop()
    browser.wait("the server does not answer since")
    assert "gw-page" in browser.text(), "what was known stays, dimmed"
    assert browser.ask("document.getElementById('main').className") == "stale"


def test_it_works_without_a_mouse_and_for_a_screen_reader(shared, browser):
    browser.open(f"{shared.url}/#token={shared.token}")
    browser.wait("live")
    assert browser.ask("document.documentElement.lang") == "en"
    unnamed = "[...document.querySelectorAll('section,article,progress,svg,input')].filter(e => !(e.ariaLabel || "
    unnamed += "e.getAttribute('aria-labelledby') || document.querySelector(`label[for=${e.id || 'none'}]`))).length"
    assert browser.ask(unnamed) == 0
    assert browser.ask("document.querySelector('[role=status]').textContent") == "live"
    levels = browser.ask("[...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


def test_names_copies_and_revoked_devices(start, browser):
    server = start()
    device = server.device("gw-named")
    device.born(_14=bytes(8))
    eventually(lambda: server.shown("gw-named")["version"])
    server.http.patch("/api/v1/devices/gw-named", json={"name": "Pump.7"})
    browser.open(f"{server.url}/#token={server.token}")
    assert "gw-named" in browser.wait("Pump.7")
    device.born(_14=bytes(range(8)))
    assert "other-hardware" in browser.wait("cloned?")
    server.api("POST", "/devices/Pump.7/revoke")
    browser.wait("revoked")


def test_the_page_of_a_device_follows_its_timeline(start, browser):
    server = start()
    device = server.device("gw-line")
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-line")["version"])
    for number in range(60):
        device.say("alarm", {1: "test", 2: f"number-{number}"})
    eventually(lambda: "number-59" in str(server.api("GET", "/devices/gw-line/alarms")))
    browser.open(f"{server.url}/#token={server.token}")
    browser.wait("gw-line")
    browser.ask("document.querySelector('.card h3 a').click()")
    assert "number-59" in browser.wait("Show older")  # the card of the first page names the newest alarm, too
    assert browser.ask("document.title") == "gw-line – Tidegate"
    assert "number-9 " not in browser.text()
    browser.ask("document.getElementById('older').click()")
    text = browser.wait("started 1.0.0 #1")
    assert text.index("number-59") < text.index("number-58") < text.index("number-9 ")
    evil = "<img src=x onerror='document.title=\"owned\"'>"
    device.say("alarm", {1: "crash", 2: "OSError", 3: evil, 6: "line 7"})
    text = browser.wait(evil)
    assert text.index("crash") < text.index("number-59"), "the newest comes first"
    browser.ask("document.querySelector('#timeline summary').click()")
    browser.wait("line 7")
    browser.ask("document.querySelector('#filter input[value=birth]').click()")
    eventually(lambda: "number-59" not in browser.text())
    assert "started 1.0.0 #1" in browser.text() and browser.ask("document.images.length") == 1
    unnamed = (
        "[...document.querySelectorAll('section,form,input')].filter(e => !(e.ariaLabel || e.id == 'door-form' || "
    )
    unnamed += "e.closest('label') || e.getAttribute('aria-labelledby') || "
    unnamed += "document.querySelector(`label[for=${e.id || 'none'}]`))).length"
    assert browser.ask(unnamed) == 0
    assert browser.complaints == []
    assert server.http.get("/devices/no%20such").status_code == 404
