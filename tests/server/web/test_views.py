"""Every view with 0, 1, 40 and 10,000 devices: what it says, what it costs, and whether axe finds anything."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import axe_core_python
import databases
import programs
import pytest
import thumbnails
import waitress
from flask.testing import FlaskClient
from headless import Browser
from page_fleet import PageFleet
from patience import until
from server_process import eventually

ROLLOUT = "/rollouts/tidegate-gateway/1.2.0"
PAGES = ("/", "/devices", "/releases", "/rollouts", "/alarms", "/audit")
FULL = (*PAGES, ROLLOUT, "/devices/gw-00000", "/devices?search=pump.1&sort=-seen", "/devices?standing=overdue&page=2")
CPU_S = 0.2
LOOKS = Path(__file__).parent / "looks"
FONT = "DejaVu Sans"  # what Debian draws system-ui with
DIFFERENT = 0.04  # of a page: other words and times are less, a panel that is gone is more
PAPER = 718  # pixels of A4 between its margins
ON_PAPER = """[getComputedStyle(document.querySelector(".top nav")).display,
    getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join(" ")"""
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module", params=[0, 1, 40, 10_000])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    return PageFleet(tmp_path_factory.mktemp("fleet"), request.param)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if programs.find("chromium") is None:
        pytest.skip("there is no chromium; Debian: apt-get install chromium")
    browser = Browser()
    yield browser
    browser.close()


def client_of(fleet: PageFleet) -> FlaskClient:
    client = fleet.app.test_client()
    assert client.post("/sign-in", data={"token": fleet.token("admin")}).status_code == 303
    return client


def test_every_view_answers_and_costs_little(fleet):
    client = client_of(fleet)
    for page in FULL if fleet.many else PAGES:
        assert client.get(page).status_code == 200, page
        spent = []
        for _ in range(10):  # what others do to the processor's caches only adds
            before = time.thread_time()
            client.get(page)
            spent.append(time.thread_time() - before)
            if spent[-1] < CPU_S:
                break
        assert min(spent) < CPU_S, f"{page}: {min(spent):.3f} s of CPU with {fleet.many} devices"


def test_empty_views_name_the_next_command(fleet):
    if fleet.many:
        pytest.skip("the fleet has devices")
    client = client_of(fleet)
    for page, command in (
        ("/", "tidegate device add"),
        ("/devices", "tidegate device add"),
        ("/releases", "tidegate release publish"),
        ("/rollouts", "tidegate rollout plan"),
    ):
        assert command in client.get(page).text, page


def test_the_tiles_count_what_the_list_shows(fleet):
    client = client_of(fleet)
    text = client.get("/").text
    for word in ("failed", "overdue", "updating", "on-time", "new"):
        tile = text.partition(f'/devices?standing={word}"><strong>')[2].partition("<")[0].replace(",", "")
        listed = client.get(f"/devices?standing={word}").text
        said = listed.partition('quiet" role="status">')[2].partition("</p>")[0].rpartition(" of ")[2].replace(",", "")
        assert (said or "0") == tile, word


def test_axe_finds_nothing(fleet, browser):
    """By keyboard, for a screen reader, in light and dark, as wide as a desk's screen and as a phone's."""
    if fleet.many not in (0, 40):
        pytest.skip("the pages of one device and of ten thousand are made of the same parts")
    script = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    run = "axe.run(document).then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')))"
    server = waitress.create_server(fleet.app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.effective_port}"
    try:
        browser.call("Network.clearBrowserCookies")
        browser.open(f"{url}/sign-in")
        browser.wait("API token")
        assert _found(browser, script, run) == []
        browser.open(f"{url}/#token={fleet.token('admin')}")
        browser.wait("Sign out")
        browser.ask("document.getElementById('main').innerHTML += '<img src=x>'")
        assert "image-alt" in str(_found(browser, script, run)), "it does look"
        pages = FULL[:8] if fleet.many else ("/", "/devices")
        for width, scheme in ((1440, "light"), (390, "dark")):
            _look(browser, width, scheme)
            for page in pages:
                browser.open(f"{url}{page}")
                browser.wait("live")
                assert _found(browser, script, run) == [], (page, width, scheme)
                assert browser.ask("document.documentElement.scrollWidth") <= width, f"{page} is too wide for {width}"
                assert browser.complaints == []
        _look(browser, PAPER, "dark", "print")
        for page in pages:
            browser.open(f"{url}{page}")
            browser.wait("Tidegate")
            eventually(lambda: browser.ask("document.readyState") == "complete")  # with its style sheet
            assert browser.ask("document.documentElement.scrollWidth") <= PAPER, f"{page} is cut on paper"
            assert browser.ask(ON_PAPER) == "none rgb(255, 255, 255) rgb(0, 0, 0)", page
    finally:
        _look(browser, 1440, "light")
        server.close()


def test_the_views_look_as_they_did(fleet, browser):
    """Beside pictures in looks/, which TIDEGATE_LOOKS=1 makes anew: look at them before you commit them."""
    server = waitress.create_server(fleet.app, host="127.0.0.1", port=0, threads=4)
    threading.Thread(target=server.run, daemon=True).start()
    url = f"http://127.0.0.1:{server.effective_port}"
    views = {"overview": "/", "devices": "/devices", "rollouts": "/rollouts", "alarms": "/alarms"}
    more = {"rollout": ROLLOUT, "releases": "/releases", "device": "/devices/gw-00000"} if fleet.many == 40 else {}
    made = bool(os.environ.get("TIDEGATE_LOOKS"))

    def looks(stored: Path, width: int) -> bool:
        return thumbnails.compare(browser, width, 900, stored, write=made) < DIFFERENT

    try:
        browser.call("Network.clearBrowserCookies")
        browser.open(f"{url}/#token={fleet.token('admin')}")
        browser.wait("Sign out")
        if (font := thumbnails.font(browser)) != FONT:
            pytest.skip(f"the pictures are drawn with {FONT}, and this machine draws with {font}")
        for width, scheme in ((1440, "light"), (390, "dark")):
            _look(browser, width, scheme)
            for name, page in (views | more).items():
                browser.open(f"{url}{page}")
                browser.wait("live")
                stored = LOOKS / f"{name}-{fleet.many}-{scheme}.png"
                until(
                    f"{page}, {width} pixels, {scheme}, looks as it did", lambda at=stored, wide=width: looks(at, wide)
                )
        browser.ask("document.querySelectorAll('link[rel=stylesheet]').forEach(one => one.remove())")
        assert thumbnails.compare(browser, 390, 900, stored, write=False) > 2 * DIFFERENT, "it does look"
    finally:
        _look(browser, 1440, "light")
        server.close()


def _look(browser: Browser, width: int, scheme: str, media: str = "") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", media=media, features=features)


def _found(browser: Browser, script: str, run: str) -> object:
    browser.call("Runtime.evaluate", expression=script)
    return browser.call("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)["result"]["value"]


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    return PageFleet(tmp_path_factory.mktemp("forty"), 40)


def test_what_is_new_comes_as_an_event_once(forty):
    client = client_of(forty)
    page = client.get("/devices").text
    state = page.partition('data-state="')[2].partition('"')[0]
    same = client.get(f"/devices?state={state}", headers=STREAM)
    assert same.mimetype == "text/event-stream" and "event: same" in same.text and len(same.data) < 100
    changed = client.get("/devices?state=other", headers=STREAM)
    assert "event: page" in changed.text and f"id: {state}" in changed.text and "gw-00039" in changed.text
    again = client.get("/devices?state=other", headers={**STREAM, "Last-Event-ID": state})
    assert "event: same" in again.text, "the browser says itself how far it is"


@pytest.mark.parametrize(
    ("query", "has", "lacks"),
    [
        ("search=PUMP.7", "gw-00007", "gw-00008"),
        ("search=%25", "No device is like that", "gw-00001"),
        ("group=north", "gw-00003", "gw-00004"),
        ("board=qemu_mps2", "gw-00004", "gw-00005"),
        ("version=1.0.0", "gw-00004", "gw-00000"),
        ("page=2", "No device is like that", "gw-00001"),
    ],
)
def test_devices_are_searched_and_filtered(forty, query, has, lacks):
    text = client_of(forty).get(f"/devices?{query}").text
    assert has in text and lacks not in text


def test_devices_are_sorted_both_ways(forty):
    client = client_of(forty)
    up, down = client.get("/devices?sort=seen").text, client.get("/devices?sort=-seen").text
    assert up.index("gw-00030") < up.index("gw-00001") and down.index("gw-00001") < down.index("gw-00030")
    assert 'aria-sort="descending"' in down


@pytest.mark.parametrize(
    "page",
    [
        "/devices?sort=colour", "/devices?page=0", "/devices?page=x", "/devices?search=%00", "/alarms?before=-1",
        "/devices/gw-00000?span=1s", "/devices/gw-00000?kind=colour", "/devices/gw-00000?before=x9", "/audit?before=a",
    ],
)  # fmt: skip
def test_a_wrong_address_says_what_is_wrong(forty, page):
    answer = client_of(forty).get(page)
    assert answer.status_code == 400 and "Bad Request" in answer.text and answer.mimetype == "text/html"


def test_what_is_not_there(forty):
    client = client_of(forty)
    for page in ("/devices/nobody", "/rollouts/x/1", "/releases/x/1/sbom", "/devices/no%20such"):
        assert client.get(page).status_code == 404, page


def test_a_device_shows_its_story_and_the_command_to_type(forty):
    text = client_of(forty).get("/devices/Pump.0").text
    for words in (
        "gw-00000", "started 1.0.0 #1", "valve 3 &lt;b&gt;does&lt;/b&gt; not move", "line 7",
        "tidegate cmd send gw-00000 info --key", "temperature", "<polyline",
    ):  # fmt: skip
        assert words in text, words
    assert text.count('<polyline class="line"') == 4, "two measurements, each with one gap"
    assert "style=" not in text and "<script>" not in text, "the content security policy would refuse them"


def test_every_view_answers_on_postgresql(tmp_path):
    with databases.postgresql() as url:
        fleet = PageFleet(tmp_path / "data", 40, url)
        client = client_of(fleet)
        for page in FULL:
            assert client.get(page).status_code == 200, page
        fleet.app.extensions["store"].close()
        fleet.store.close()


def test_a_rollout_shows_its_waves_and_the_evidence_of_its_gates(forty):
    text = client_of(forty).get(ROLLOUT).text
    for words in (
        "wave 1 of 3 (1%)", "Wave 2: 3 waiting", "crashes, 2 h after the update: worse in 20 of 30 pairs", "stops",
        "allowed: 2%", "to all, waves 1%,10%,100%",
    ):  # fmt: skip
        assert words in text, words
    curve = text.partition('<polyline class="line" points="')[2].partition('"')[0].split()
    assert curve[0] == "0,40" and len(curve) == 31 and curve[-1].startswith("200.0,")
    heights = [float(point.partition(",")[2]) for point in curve]
    assert all(0 < height <= 40 for height in heights) and heights[-1] < 40, "some evidence, and below the limit"
