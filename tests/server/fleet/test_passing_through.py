"""A release that needs another first: planned, offered and refused, by a real server to devices at its broker."""

from __future__ import annotations

import signed_releases as releases
from fleet_commands import asked, run
from server_process import KeyRing, ServerProcess, eventually

from tidegate.manifest import Needs

PRODUCT = "stepwise"


def offer(server: ServerProcess, device: str) -> str | None:
    return (server.shown(device)["offer"] or {}).get("version")


def test_the_plan_shows_the_way_and_the_server_offers_it(shared: ServerProcess, ring: KeyRing) -> None:
    made = {n: releases.make(ring.release, f"{n}.0.0", n, product=PRODUCT) for n in (1, 2)}
    made[3] = releases.make(
        ring.release, "3.0.0", 3, product=PRODUCT, bases=(made[2]["image"],), needs=Needs(2, "1.20")
    )
    devices = {}
    for n, name in ((1, "step-1"), (2, "step-2")):
        devices[name] = shared.device(name, shared.register(name, product=PRODUCT))
        devices[name].born(f"{n}.0.0", n, _3=PRODUCT, _6=bytes.fromhex(releases.digest(made[n]["image"])))
    eventually(lambda: all(shared.shown(name)["version"] for name in devices))
    for n in made:
        shared.publish(made[n])
    listed = shared.api("GET", "/releases", params={"product": PRODUCT})["releases"]
    assert listed[0]["targets"]["unix"]["needs"] == {"sequence": 2, "micropython": "1.20"}
    assert [offer(shared, name) for name in devices] == ["2.0.0", "3.0.0"]

    status = asked(shared, "rollout", "status", "3.0.0", "--product", PRODUCT)
    assert {one["id"]: one["why"] for one in status["devices"]} == {
        "step-1": "goes through 2.0.0 first",
        "step-2": None,
    }
    plan = asked(shared, "rollout", "plan", "3.0.0", "--to", "all", "--waves", "100%", "--product", PRODUCT)
    rows = {row["version"]: row for row in plan["rows"]}
    patch = made[3]["payloads"].keys() - {releases.digest(made[3]["image"])}
    size = len(made[3]["payloads"][patch.pop()])
    assert (rows["1.0.0"]["through"], rows["1.0.0"]["gets"]) == (["2.0.0"], "image")
    assert rows["1.0.0"]["bytes"] == len(made[2]["image"]) + size, "the image of 2.0.0, and the patch to 3.0.0"
    assert (rows["2.0.0"]["through"], rows["2.0.0"]["bytes"]) == ([], size)
    shown = run(shared, "rollout", "plan", "3.0.0", "--to", "all", "--waves", "100%", "--product", PRODUCT)
    assert "bytes, through 2.0.0" in shown

    devices["step-1"].born("2.0.0", 2, _3=PRODUCT, _6=bytes.fromhex(releases.digest(made[2]["image"])))
    eventually(lambda: offer(shared, "step-1") == "3.0.0")
