"""The Raspberry Pi Pico with the MicroPython that boards/rpi_pico builds, through its USB alone: `tidegate flash` puts
an image into its ROM segment, `tidegate link` brings it to mosquitto and our server, and a signed patch, fetched over
the cable, is tried and confirmed. The firmware is the one that holds the agent.

`make boards` runs it, and with TIDEGATE_FULL=1 all of loader and image goes through the cable, too. The steps share one
board and follow one another, and the image is small. The board is the emulator's: a second of its time takes half a
minute and more here, which brokers, servers and the link take for a dead board. So its keepalive is two hours (in its
copy of the sources), the link waits longer, and before the server is a proxy that gathers requests; all else is as
people have it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import application
import pytest
import stock
from lab import Installation
from lab.pico_w import LabPicoW
from lab.processes import LabError
from lab.usb_link import LabLink
from patient_proxy import PatientProxy

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import delivery

DEVICE = "gate-pico"
VERIFIED_S = 240
STARTED_S = 400
ONLINE_S = 900
UPDATE_S = 1800
COMMAND_S = 600
KEEPALIVE = "_KEEPALIVE_S = const(60)", "_KEEPALIVE_S = const(7200)"
PERIOD_S = 3  # of telemetry, in the board's time
FEATURES = ("mqtt", "http", "usb", "commands")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, frozen_firmware: Path) -> Iterator[Installation]:
    with Installation(
        tmp_path_factory.mktemp("pico") / "place", target="rpi_pico", uplink="usb", broker="mosquitto"
    ) as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(application.source("1.0.0"))
        made.declare_image(application.image(*FEATURES))
        made.leave_out(frozen_firmware.parent / "frozen" / "frozen.json")
        path = made.source / "firmware" / "lib" / "gate" / "link" / "mqtt.py"
        assert KEEPALIVE[0] in path.read_text()
        path.write_text(path.read_text().replace(*KEEPALIVE))
        made.build("1.0.0", 1)
        yield made


@pytest.fixture(scope="module")
def board(place: Installation, frozen_firmware: Path) -> Iterator[LabPicoW]:
    made = place.add_pico(DEVICE, delivery.prepared(place, "1.0.0", frozen_firmware), PERIOD_S)
    path = place.folder / f"{DEVICE}.config.json"
    config = json.loads(path.read_text())
    with PatientProxy(int(re.findall(r":(\d+)/", config["payloads"])[0])) as proxy:
        config["payloads"] = f"http://127.0.0.1:{proxy.port}/"
        path.write_text(json.dumps(config))
        yield made


@pytest.fixture(scope="module")
def link(place: Installation, board: LabPicoW) -> Iterator[LabLink]:
    made = LabLink(board, place.folder / f"{DEVICE}.config.json", patient=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def cost(board: LabPicoW, request: pytest.FixtureRequest) -> Iterator[None]:
    """Says what each step took."""
    began, used = time.monotonic(), board.seconds_used()
    yield
    print(f"{request.node.name}: {board.seconds_used() - used:.0f} s of a processor for the board, "
          f"{time.monotonic() - began:.0f} s in all")  # fmt: skip


def test_it_is_flashed_through_its_usb(place: Installation, board: LabPicoW) -> None:
    said = stock.flash(place, board, DEVICE)
    assert "Raspberry Pi Pico with RP2040, MicroPython 1.25.0" in said
    assert "rom slot A boots: sequence 1" in said


def test_the_image_is_verified_and_started_in_its_rom_segment(board: LabPicoW) -> None:
    board.wait_line(r"slot A, sequence 1, verified", VERIFIED_S)
    board.wait_line(r"gate-pico, tidegate-gateway 1\.0\.0, sequence 1, slot A", STARTED_S)


def test_it_is_online_through_the_cable_with_its_telemetry(place: Installation, link: LabLink) -> None:
    link.wait_line(r": linked", ONLINE_S)
    place.wait_running(DEVICE, "1.0.0", ONLINE_S)
    place.wait("telemetry", lambda: "free" in place.api.device(DEVICE)["telemetry"], ONLINE_S)
    free, used = application.heap(link.lines)
    print(f"heap: {free} bytes free, {used} in use")


def test_a_signed_command_is_answered(place: Installation, link: LabLink) -> None:
    found = place.tidegate(
        "cmd", "send", DEVICE, "info", "--key", place.key("command"), "--wait", str(COMMAND_S), "--json"
    )
    told = json.loads(found)
    assert told["outcome"] == "done", told
    assert told["result"]["answer"]["version"] == "1.0.0" and told["result"]["answer"]["link"] is True


def test_a_signed_patch_is_fetched_tried_and_confirmed(place: Installation, link: LabLink) -> None:
    before = place.last_report(DEVICE)
    place.put_application(application.source("1.1.0"))
    place.build("1.1.0", 2, previous="1.0.0")
    place.publish("1.1.0")
    try:
        place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    except LabError as error:
        raise LabError(f"{error}; the link and the board said:\n" + "\n".join(link.lines[-40:])) from error
    phases = [report["phase"] for report in place.reports(DEVICE, before)]
    assert phases.index("trial") < phases.index("confirmed"), phases
    shown = place.wait_running(DEVICE, "1.1.0", ONLINE_S)
    assert shown["sequence"] == 2
    assert any("slot B" in line and "1.1.0" in line for line in link.lines)
    patch = place.index("1.1.0")["patches"]
    print(f"reports: {', '.join(phases)}; the patch: {patch}")
