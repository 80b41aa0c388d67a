"""The application of a new project, twenty lines, on a Linux gateway: its command, its setting, and its word on when
the board may restart, for which a real signed update waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab import Installation
from patience import limit

from tidegate.commands import send
from tidegate.project import create

DEVICE = "gate-6"
APPLICATION = create.TEMPLATES / "app.py.in"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("application") / "place", target="unix") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(APPLICATION.read_text().replace("@PRODUCT@", "cooler"))
        made.build("1.0.0", 1)
        made.flash(made.add_gateway(DEVICE), DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 30)
        yield made


def ask(place: Installation, opcode: str, **arguments: Any) -> dict[str, Any]:
    sender = send.Sender(place.api, [place.key("command")])
    begun = sender.send(place.api.device(DEVICE), send.Request(opcode, arguments))
    return list(send.follow(place.api, begun, 60))[-1]


def release(place: Installation, version: str, sequence: int, previous: str) -> None:
    path = place.application / "__init__.py"
    path.write_text(path.read_text().replace(f"21{sequence + 3} +", f"21{sequence + 4} +"))
    place.build(version, sequence, previous=previous)
    place.publish(version)


def await_shown(place: Installation, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + limit(60)
    while not right(shown := place.api.device(DEVICE)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)
    return shown


def test_a_setting_of_its_own(place: Installation) -> None:
    found = ask(place, "config.get")["result"]["answer"]["settings"]
    assert (found["app.most_s"], found["restart_wait_s"]) == (60, 43200)
    told = ask(place, "config.set", **{"app.most_s": 601})
    assert told["why"].endswith("app.most_s is 601; it must be a whole number from 1 to 600")
    answer = ask(place, "config.set", **{"app.most_s": 600})["result"]["answer"]
    assert answer["settings"]["app.most_s"] == 600 and not answer["restart"]


def test_an_update_waits_until_the_application_is_ready(place: Installation) -> None:
    assert ask(place, "pump.run", seconds=600)["outcome"] == "done"
    release(place, "1.1.0", 2, "1.0.0")
    shown = await_shown(place, lambda shown: (shown["update"] or {}).get("phase") == "waiting")
    assert shown["version"] == "1.0.0" and shown["update"]["detail"] == "waiting for the application"
    assert (shown["update"]["state"], shown["offer"]["state"]) == ("downloaded", "offered")
    lasts_ms = shown["update"]["until"] - shown["update"]["at"]
    assert lasts_ms == 43_200_000
    assert "is waiting for the application since" in place.run("device", "show", DEVICE).stdout
    assert ", for 12 h at the latest" in place.run("device", "timeline", DEVICE).stdout
    listed = place.run("device", "list")
    assert "waiting for the application" in " ".join(listed.stdout.split()), listed.stdout
    assert ask(place, "update.status")["result"]["answer"]["waits_for_application_s"] >= 0
    assert place.api.device(DEVICE)["version"] == "1.0.0"
    assert ask(place, "pump.run", seconds=1)["outcome"] == "done"
    place.wait_running(DEVICE, "1.1.0", 60)
    place.wait_report(DEVICE, "confirmed", 0, 30)
    phases = [report["phase"] for report in reversed(place.api.records(DEVICE, "reports", 50)["reports"])]
    assert phases == ["offered", "fetching", "applying", "waiting", "installed", "trial", "confirmed"]
    assert ask(place, "config.get")["result"]["answer"]["settings"]["app.most_s"] == 600


def test_when_its_time_is_up_it_restarts_all_the_same(place: Installation) -> None:
    assert ask(place, "pump.run", seconds=600)["outcome"] == "done"
    release(place, "1.2.0", 3, "1.1.0")
    await_shown(place, lambda shown: shown["update"]["phase"] == "waiting")
    assert ask(place, "config.set", restart_wait_s=1)["outcome"] == "done"
    place.wait_running(DEVICE, "1.2.0", 60)
    reports = place.api.records(DEVICE, "reports", 50)["reports"]
    [installed] = [one for one in reports if one["phase"] == "installed" and one["sequence"] == 3]
    assert installed["detail"].startswith("the application was not ready for ")
    assert installed["detail"].endswith(" s; restarted all the same")
