"""Publications, rollouts, moves and births at the same time: in the end every offer is what follows from the groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import databases
import httpx
import pytest
import signed_releases as releases
from patience import limit
from server_process import ServerProcess, document, eventually

PRODUCT = releases.PRODUCT
ROUNDS = 6


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield {}
        return
    with databases.postgresql() as url:
        yield {"TIDEGATE_DATABASE_URL": url}


def test_many_at_once(start, ring, environment):
    server: ServerProcess = start(env=environment)
    made = [releases.make(ring.release, f"1.{n}.0", n) for n in range(1, ROUNDS + 1)]
    devices = [server.device(f"gw-{n}") for n in range(4)]
    server.api("POST", "/groups", json={"seen": None, "groups": {"a": {"channel": "x"}, "b": {}}, "devices": {}})
    for release in made:
        for name, data in release["payloads"].items():
            server.api("PUT", f"/payloads/{name}", content=data)
    wrong: list[str] = []

    def call(method: str, path: str, fine: tuple[int, ...], **kwargs: object) -> None:
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=limit(60)
        ) as http:
            answer = http.request(method, f"/api/v1{path}", **kwargs)  # type: ignore[arg-type]
            if answer.status_code not in fine:
                wrong.append(answer.text)

    def publish() -> None:
        for number, release in enumerate(made):
            call("POST", "/releases", (201,), json={**document(release), "channel": "x" if number % 2 else "stable"})

    def promote() -> None:
        for _ in range(2):
            for release in made:
                path = f"/rollouts/{PRODUCT}/{release['version']}"
                call("POST", f"{path}/start", (200, 404, 409), json={"channel": "x"})
                call("POST", f"{path}/stop", (200, 404, 409), json={"channel": "stable"})

    def move() -> None:
        for number in range(3 * ROUNDS):
            moved = {device.id: ("a", "b", "default")[(number + n) % 3] for n, device in enumerate(devices)}
            call("POST", "/groups", (200,), json={"seen": None, "groups": {}, "devices": moved})

    def pin() -> None:
        for number in range(2 * ROUNDS):
            release = {"product": PRODUCT, "version": made[0]["version"]} if number % 2 else None
            body = {"seen": None, "groups": {"b": {"release": release, "channel": "x"}}, "devices": {}}
            call("POST", "/groups", (200, 404), json=body)

    def births() -> None:
        for number in range(2 * ROUNDS):
            for device in devices:
                device.born(f"1.{number % 3}.0", number % 3)

    work: list[Callable[[], None]] = [publish, promote, move, pin, births]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    for device in devices:  # the last word of each: it runs 1.2.0
        device.born("1.2.0", 2, _7=bytes(8))
    eventually(lambda: all(server.shown(device.id)["nonce"] == "00" * 8 for device in devices))

    view = {group["name"]: group for group in server.api("GET", "/groups")["groups"]}
    rollouts = {one["version"]: one for one in server.api("GET", "/releases")["releases"]}
    for device in devices:
        shown = server.shown(device.id)
        group = view[shown["group"]]
        if group["release"]:
            expected = group["release"]["sequence"]
        else:
            standing = [one["sequence"] for one in rollouts.values() if group["channel"] in one["channels"]]
            expected = max(standing, default=0)
        offer = shown["offer"]
        assert (offer["sequence"] if offer else None) == (expected if expected >= 2 else None), (shown, view, rollouts)
    assert server.api("GET", "/audit")["whole"]
    assert "Traceback" not in server.log.read_text()
