"""config.json as `tidegate flash` judges it: alike on the board, by tests/vectors/settings.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import TidegateError
from tidegate.flash import loader_files

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "settings.json").read_text())
GOOD = {
    "device": "gw-1",
    "product": "p",
    "vendor": "v.example",
    "board": "b",
    "uplink": "both",
    "mqtt": {"host": "10.0.2.2"},
    "coap": {"host": "10.0.2.2"},
    "payloads": "http://10.0.2.2:8080/",
}


def changed(key: str, value: object) -> dict[str, Any]:
    config = json.loads(json.dumps(GOOD))
    place = config
    *above, last = key.split(".")
    for part in above:
        place = place.setdefault(part, {})
    place[last] = value
    return config


def flash(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    loader_files.settings(None, file, None)


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['key']}={row['value']!r:.30}")
def test_flashing_judges_a_setting_as_the_board_does(tmp_path: Path, row: dict[str, Any]) -> None:
    text = json.dumps(changed(row["key"], row["value"]))
    if row["good"]:
        flash(tmp_path, text)
        return
    with pytest.raises(TidegateError, match=r"config\.json") as refused:
        flash(tmp_path, text)
    assert row["key"].split(".")[-1] in refused.value.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_has_not_are_refused(tmp_path: Path, number: str) -> None:
    text = json.dumps(changed("streams.demo.over.a", 0)).replace('"a": 0', f'"a": {number}')
    with pytest.raises(TidegateError, match="number"):
        flash(tmp_path, text)


def test_json_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="JSON"):
        flash(tmp_path, '{"a": ' + "[" * 4000)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("telemetry_perod_s", "telemetry_period_s"),
        ("mqtt.prot", "mqtt.port"),
        ("streams.env.periode_ms", "streams.env.period_ms"),
        ("store.segment", "store.segments"),
        ("fan_limit", "`app`"),
    ],
)
def test_a_key_that_nobody_reads_is_refused(tmp_path: Path, key: str, remedy: str) -> None:
    with pytest.raises(TidegateError, match=key + " is a setting that no board has") as refused:
        flash(tmp_path, json.dumps(changed(key, 1)))
    assert remedy in str(refused.value.remedy)


def test_an_application_has_keys_of_its_own(tmp_path: Path) -> None:
    flash(tmp_path, json.dumps(changed("app.fan.limit", 7)))
    with pytest.raises(TidegateError, match="app must be an object"):
        flash(tmp_path, json.dumps(changed("app", 7)))
