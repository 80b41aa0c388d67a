"""/metrics, and the rules and the dashboard that are made of it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from pathlib import Path

import large_database
import programs
import pytest
import signed_releases as releases
import yaml
from patience import limit
from prometheus_client.parser import text_string_to_metric_families
from server_process import PRODUCT, ServerProcess, eventually

from ota_server.fleet import figures
from ota_server.store import now_ms
from ota_server.store.models import Device

OPS = Path(__file__).resolve().parents[3] / "docs" / "ops"
NAME = re.compile(r"\b(?:tidegate|process)_[a-z_]+\b")
FOREIGN = {"up"}  # of Prometheus itself


def shown(server: ServerProcess, **headers: str) -> dict[tuple[str, frozenset], float]:
    """Every sample: (name, labels) -> value."""
    answer = server.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def at(found: dict, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def test_what_a_fleet_does_is_counted(start, ring):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    server.register("gw-2")
    device.say("tele/env", b"not CBOR")
    eventually(lambda: refused(server))
    server.http.get("/p/" + "0" * 64)
    server.http.get("/nothing/here")
    assert server.publish(releases.make(ring.release, "1.1.0", 2)).status_code == 201
    online = {"product": PRODUCT, "version": "1.0.0", "online": "true"}
    eventually(lambda: at(shown(server), "tidegate_devices", **online))
    found = shown(server)
    assert at(found, "tidegate_devices", product=PRODUCT, version="", online="false") == 1
    assert at(found, "tidegate_devices_in_state", state="devices") == 2
    assert at(found, "tidegate_messages_filed_total") >= 1
    assert refused(server) == 1
    assert at(found, "tidegate_ingest_lag_seconds_count") >= 1
    assert at(found, "tidegate_database_up") == 1
    unknown = {"method": "GET", "route": "unknown", "status": "404"}
    assert at(found, "tidegate_http_request_seconds_count", **unknown) == 1, "no path of a caller's is a label"
    missed = {"method": "GET", "route": "/p/<name>", "status": "404"}
    assert at(found, "tidegate_http_request_seconds_count", **missed) == 1
    eventually(lambda: any(name == "tidegate_housekeeping_success_timestamp_seconds" for name, _ in shown(server)))
    names = {name for name, _ in found}
    assert uses() - names - FOREIGN <= {
        # with labels, of which there is none before the first
        "tidegate_rollout_devices",
        "tidegate_commands",
        "tidegate_messages_refused_total",
        "tidegate_housekeeping_success_timestamp_seconds",
    }


def refused(server: ServerProcess) -> float:
    return sum(value for (name, _), value in shown(server).items() if name == "tidegate_messages_refused_total")


def uses() -> set[str]:
    """The names in the rules and on the dashboard."""
    rules = yaml.safe_load((OPS / "alerts.yaml").read_text())["groups"][0]["rules"]
    panels = json.loads((OPS / "grafana.json").read_text())["panels"]
    exprs = [rule["expr"] for rule in rules] + [one["expr"] for panel in panels for one in panel["targets"]]
    return {name for expr in exprs for name in NAME.findall(expr)}


def test_only_who_may_read_figures_does(shared):
    assert shared.http.get("/metrics", headers={"Authorization": ""}).status_code == 401
    assert shared.http.get("/metrics", headers=shared.token_for("read")).status_code == 403
    narrow = shared.token_for("metrics")
    assert shown(shared, **narrow)
    assert shared.http.get("/api/v1/devices", headers=narrow).status_code == 403


def test_the_figures_of_a_large_fleet_cost_little(tmp_path):
    store = large_database.fill(f"sqlite:///{tmp_path / 'large.db'}", series=0, version="1.0.0", online=True)
    with store.read() as session:
        began = time.thread_time()
        found = figures.read(session, now_ms())
        took = time.thread_time() - began
    store.close()
    assert found.versions == {(PRODUCT, "1.0.0", True): large_database.DEVICES}
    assert took < 0.25, f"{took:.3f} s of CPU, every 10 s at most"


def test_versions_without_end_are_one_label(tmp_path):
    store = large_database.fill(f"sqlite:///{tmp_path / 'many.db'}", 200, 0)
    with store.write() as session:
        for number in range(200):
            session.get(Device, large_database.device_id(number)).version = f"{number}.0"
    with store.read() as session:
        versions = figures.read(session, now_ms()).versions
    store.close()
    assert len(versions) == 31 and versions[PRODUCT, "other", False] == 170


def test_many_who_ask_ask_the_database_once(shared):
    headers = shared.token_for("metrics")
    found: list[float] = []

    def ask() -> None:
        found.append(at(shown(shared, **headers), "tidegate_figures_seconds"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) <= 2, "how long it took is that of one or two times"


@pytest.mark.skipif(not programs.find("promtool"), reason="promtool is missing: Debian's package prometheus")
@pytest.mark.parametrize(
    "words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")], ids=lambda words: words[0]
)
def test_prometheus_takes_the_rules(words):
    done = subprocess.run(
        [programs.require("promtool"), *words], cwd=OPS, capture_output=True, text=True, timeout=limit(60)
    )
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_rules_and_panels_say_what_to_do():
    for rule in yaml.safe_load((OPS / "alerts.yaml").read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "remedy"} and rule["labels"]["severity"] in ("page", "ticket")
    panels = json.loads((OPS / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places) and all(panel["targets"] for panel in panels)
