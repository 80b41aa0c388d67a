"""The page in a real browser, with a real server: what people see with and without a token, live, and while it is away.

What is behind the pages (sign-in, filters, forms, roles) is in test_sign_in and test_views, without a browser.
"""

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


@pytest.fixture(autouse=True)
def nobody_is_signed_in(browser: Browser) -> None:
    browser.call("Network.clearBrowserCookies")


def test_without_a_token_and_with_a_wrong_one(shared, browser):
    browser.open(shared.url)
    assert "tidegate token new" in browser.wait("API token")
    browser.open(f"{shared.url}/#token=nonsense")
    browser.wait("The token is not valid")
    publisher = shared.token_for("publish")["Authorization"].split()[1]
    browser.open(f"{shared.url}/#token={publisher}")
    assert "tidegate token new --scope read" in browser.wait("Forbidden")
    browser.ask("document.querySelector('.who button').click()")
    browser.wait("API token")
    # A person types one into the form.
    browser.ask(f"document.getElementById('token').value = {shared.token!r}")
    browser.ask("document.querySelector('#door button').click()")
    browser.wait("live")
    assert shared.token not in browser.ask("document.documentElement.outerHTML")
    assert browser.ask("document.cookie") == "", "no script can read it"


def test_it_shows_the_fleet_and_keeps_itself_current(start, ring, browser):
    server = start()
    browser.open(f"{server.url}/#token={server.token}")
    browser.wait("No devices yet")
    assert browser.ask("location.href") == f"{server.url}/", "the token leaves the address bar"
    device = server.device("gw-page")
    device.born("1.0.0", 1)
    browser.wait("1 connected")
    text = browser.wait("1.0.0")  # its birth may be filed a moment later
    assert "1.0.0" in text and "On time" in text and "No release is published yet" in text
    browser.open(f"{server.url}/devices/gw-page")
    text = browser.wait("live")
    for words in ("MQTT", "1.0.0 #1", "tidegate-gateway", "power-on", "version 1", "s ago"):
        assert words in text, words

    for value in (20.5, 21.25, 22.75):
        device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-page:", 0: "temperature", 1: "Cel", 2: value}])
    browser.wait("22.75 °C")
    eventually(lambda: browser.ask("document.querySelectorAll('.chart svg').length") == 1)
    device.report(2, 2, 1, 0, progress=[512, 2048])
    browser.wait("25 % of 2.0 KiB")
    assert browser.ask("document.querySelector('progress').value") == 512
    evil = "<img src=x onerror='document.title=\"owned\"'>"
    device.say("alarm", {1: "crash", 2: "exception", 3: evil})
    browser.wait(evil)
    assert browser.ask("document.title") == "gw-page · Tidegate" and browser.ask("document.images.length") == 1
    trace = 'Traceback (most recent call last):\n  File "/rom/app/valve.py", line 7\nOSError: 19\ntask sensors'
    device.say("alarm", {1: "crash", 2: "OSError", 3: "ENODEV", 6: trace})
    browser.wait("OSError")
    browser.ask("document.querySelector('#alarms summary').click()")
    browser.wait("line 7\nOSError: 19\ntask sensors")
    device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-page:", -257: 9, -258: 4, 0: "temperature", 2: 23.5}])
    browser.wait("4 packs, 4 lost")
    send(server, "gw-page", signed(ring, "gw-page", 1, "log.tail"))
    assert device.wait_heard("cmd")
    browser.wait("pending → verified → uplinked")
    assert "line 7" in browser.text(), "what was opened stays open when the page is drawn anew"
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 3, 5: [0, True], 6: "one line\n"})
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 1, 4: "ValueError: no such log", 5: [1, False]})
    text = browser.wait("pending → verified → uplinked → confirmed")
    assert "ValueError: no such log" in text and "failed" in text and "9 B of output" in text
    browser.ask("document.querySelector('#commands summary').click()")
    assert "by device gw-page" in browser.wait("taken by the broker")
    browser.open(server.url)
    browser.wait("crash: OSError")
    device.vanish()
    browser.wait("0 connected")
    assert browser.complaints == [], "neither script errors nor breaches of the content security policy"

    server.stop()
    browser.wait("the server does not answer since")
    assert "1.0.0" in browser.text(), "what was known stays, dimmed"
    assert browser.ask("document.body.className") == "stale"


def test_it_works_without_a_mouse_and_for_a_screen_reader(shared, browser):
    browser.open(f"{shared.url}/#token={shared.token}")
    browser.wait("live")
    assert browser.ask("document.documentElement.lang") == "en"
    assert browser.ask("document.querySelector('[role=status]').textContent") == "live"
    levels = browser.ask("[...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    browser.open(f"{shared.url}/devices")
    browser.wait("live")
    key = {"key": "/", "text": "/", "code": "Slash"}
    browser.call("Input.dispatchKeyEvent", type="keyDown", **key)
    assert browser.ask("document.activeElement.id") == "search"


def test_names_copies_and_revoked_devices(start, browser):
    server = start()
    device = server.device("gw-named")
    device.born(_14=bytes(8))
    eventually(lambda: server.shown("gw-named")["version"])
    server.http.patch("/api/v1/devices/gw-named", json={"name": "Pump.7"})
    browser.open(f"{server.url}/#token={server.token}")
    browser.wait("live")
    browser.open(f"{server.url}/devices")
    assert "gw-named" in browser.wait("Pump.7")
    device.born(_14=bytes(range(8)))
    browser.wait("cloned?")
    browser.open(f"{server.url}/alarms")
    browser.wait("other-hardware")
    server.api("POST", "/devices/Pump.7/revoke")
    browser.open(f"{server.url}/devices")
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
    browser.wait("live")
    browser.open(f"{server.url}/devices")
    browser.wait("gw-line")
    browser.ask("document.querySelector('#devices tbody a').click()")
    assert "number-59" in browser.wait("Older")
    assert browser.ask("document.title") == "gw-line · Tidegate"
    timeline = "document.getElementById('timeline').innerText"
    text = browser.ask(timeline)
    assert "number-9 " not in text.replace("\n", " ") and text.index("number-59") < text.index("number-58")
    browser.ask("document.querySelector('#timeline a.button').click()")
    assert "number-9" in browser.wait("started 1.0.0 #1")
    browser.open(f"{server.url}/devices/gw-line")
    browser.wait("live")
    evil = "<img src=x onerror='document.title=\"owned\"'>"
    device.say("alarm", {1: "crash", 2: "OSError", 3: evil, 6: "line 7"})
    browser.wait(evil)
    text = browser.ask(timeline)
    assert text.index("crash") < text.index("number-59"), "the newest comes first"
    browser.ask("document.querySelector('#timeline summary').click()")
    browser.wait("line 7")
    browser.ask("document.querySelector('#filter input[value=birth]').click()")
    browser.ask("document.querySelector('#filter button').click()")
    filtered = f"location.search.includes('kind=birth') && document.readyState == 'complete' ? {timeline} : 'number-59'"
    eventually(lambda: "number-59" not in browser.ask(filtered))
    assert "started 1.0.0 #1" in browser.text() and browser.ask("document.images.length") == 1
    assert browser.complaints == []
    assert server.http.get("/devices/no%20such").status_code == 303, "only who is signed in hears whether there is one"
