"""Linux gateways enrol over HTTPS, and a copied folder, which is alike to the last byte, is noticed.

Real server with TLS and the broker inside, MicroPython's unix port; the loader verifies signatures.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Installation, LabGateway
from lab.installation import PRODUCT, VENDOR

ENROL_S = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("enrol-unix") / "place", target="unix", tls="server") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        yield made


def gateway(place: Installation, name: str) -> LabGateway:
    made = LabGateway(place.folder / name)
    place.boards.append(made)
    return made


def claim_for(place: Installation, name: str) -> Path:
    file = place.folder / f"{name}.claim"
    place.tidegate("device", "claim", "--trust", place.trust, "--out", file, "--name", name, "--board", "unix")
    return file


def flash(place: Installation, made: LabGateway, claim: Path, *options: str | Path) -> None:
    config = place.folder / "fleet.config.json"
    settings = {
        "product": PRODUCT,
        "vendor": VENDOR,
        "board": "unix",
        "mqtt": {"host": "127.0.0.1", "port": place.mqtt_port, "tls": True},
        "payloads": f"https://127.0.0.1:{place.url.rpartition(':')[2]}/",
    }
    config.write_text(json.dumps(settings))
    place.tidegate(
        "flash", made.port, "--board", "unix", "--source", place.source, "--release", place.release("1.0.0"),
        "--config", config, "--claim", claim, "--ca", place.certificates / "ca.crt", *options,
    )  # fmt: skip


def test_a_gateway_enrols_over_https_below_a_loader_that_verifies_signatures(place: Installation) -> None:
    made = gateway(place, "first")
    flash(place, made, claim_for(place, "first"), "--verify", "signature", "--trust", place.trust)
    made.power_on()
    made.wait_line("its signature verified|verified", ENROL_S)
    made.wait_line("enrolled as", ENROL_S)
    place.wait_running("first", "1.0.0", ENROL_S)
    assert not (made.folder / "tg" / "claim").exists()


def test_a_server_of_another_authority_is_not_asked(place: Installation) -> None:
    made = gateway(place, "strange")
    flash(place, made, claim_for(place, "strange"))
    other = place.folder / "other"
    place.tidegate("tls", "authority", "--dir", other)
    made.power_off()
    place.tidegate("flash", made.port, "--board", "unix", "--source", place.source, "--ca", other / "ca.crt")
    made.power_on()
    made.wait_line("enrolment: .*again in", ENROL_S)
    made.power_off()
    assert not (made.folder / "tg" / "credentials.json").exists()
    row = next(row for row in place.api.claims()["claims"] if row["name"] == "strange")
    assert row["state"] == "open"


def test_a_copied_folder_is_noticed(place: Installation) -> None:
    made = gateway(place, "second")
    flash(place, made, claim_for(place, "second"))
    made.power_on()
    made.wait_line("enrolled as", ENROL_S)
    place.wait_running("second", "1.0.0", ENROL_S)
    made.power_off()
    shutil.copytree(made.folder, place.folder / "copy")
    copy = gateway(place, "copy")
    for one in (made, copy):
        one.power_on()

    def seen() -> bool:
        found = place.api.alarms.listed(100, "second")["alarms"]
        return ("cloned", "two-boards") in {(row["kind"], row["reason"]) for row in found}

    place.wait("the alarm about two boards", seen, 120)
    place.tidegate("device", "revoke", "second")
    assert not place.api.device("second")["online"]
