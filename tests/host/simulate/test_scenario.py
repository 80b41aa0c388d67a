"""Scenario files: what is refused, with key and remedy; and that a seed decides what is chosen at random."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.errors import TidegateError
from tidegate.simulate import nature, scenario
from tidegate.simulate.worker import faults

CONNECT = '[[phases]]\nkind = "connect"\n'


def test_the_default_is_a_scenario() -> None:
    found = scenario.read(None)
    assert [phase.kind for phase in found.phases] == ["connect", "telemetry"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "phases is missing"),
        ("phases = []", "phases"),
        ("seed = 1 2", "is not TOML"),
        ("sed = 1\n" + CONNECT, "sed is not a key of this table"),
        ("[fleet]\nimage_bytes = 10\n" + CONNECT, "fleet.image_bytes must be greater than or equal to 1000"),
        ('[fleet]\nboard = "Big"\n' + CONNECT, "fleet.board"),
        ('seed = "one"\n' + CONNECT, "seed must be a valid integer"),
        ("[misbehaving]\nhangs = 0.6\nsilent = 0.6\n" + CONNECT, "misbehaving add up to more than 1"),
        ("[misbehaving]\nhangs = nan\n" + CONNECT, "misbehaving.hangs"),
        ('[[phases]]\nkind = "storm"\n', "phases[1].kind must be one of commands, connect, idle"),
        ("[[phases]]\nover_s = 1\n", "phases[1].kind must be one of"),
        (CONNECT + '[[phases]]\nkind = "telemetry"\n', "phases[2].rate is missing"),
        (CONNECT + '[[phases]]\nkind = "telemetry"\nrate = 0\n', "phases[2].rate must be greater than 0"),
        (CONNECT + '[[phases]]\nkind = "commands"\n', "phases[2].key is missing"),
        (CONNECT + '[[phases]]\nkind = "release"\nkey = 7\n', "phases[2].key"),
        ('[[phases]]\nkind = "idle"\n', 'begin with a phase of the kind "connect"'),
        (CONNECT + '[[phases]]\nkind = "rollout"\nof = "data"\nkey = "k"\n', 'data = "maps", for a rollout'),
        (CONNECT + '[[phases]]\nkind = "rollout"\nof = "trust"\nkey = "k"\n', "phases[2] store is for a rollout"),
        (CONNECT + '[[phases]]\nkind = "rollout"\nstore = "s"\nkey = "k"\n', "phases[2] store is for a rollout"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(TidegateError) as refused:
        scenario.parse(text, "s.toml")
    assert words in refused.value.message and refused.value.message.startswith("s.toml"), refused.value.message
    assert refused.value.remedy == scenario.REMEDY


def test_keys_are_beside_the_scenario(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = '[[phases]]\nkind = "release"\nkey = "keys/release.jwk"\n'
    file.write_text(CONNECT + text + '[[phases]]\nkind = "rollout"\nof = "trust"\nkey = "r.jwk"\nstore = "t.cbor"\n')
    assert scenario.read(file).phases[2].store == tmp_path / "t.cbor"  # type: ignore[union-attr]
    assert scenario.read(file).phases[1].key == tmp_path / "keys" / "release.jwk"  # type: ignore[union-attr]


def test_the_seed_decides_who_misbehaves_and_how_many() -> None:
    text = "seed = {}\n[misbehaving]\nbad_link = 0.2\nrolls_back = 0.1\nhangs = 0.05\nsilent = 0.05\n" + CONNECT
    one, again, other = (scenario.parse(text.format(seed), "s") for seed in (1, 1, 2))
    ids = [f"sim-{number:05d}" for number in range(2000)]
    chosen = [[nature.of(found, name) for name in ids] for found in (one, again, other)]
    assert chosen[0] == chosen[1] != chosen[2]
    counts = faults(one, ids)
    for fault, share in (("bad_link", 0.2), ("rolls_back", 0.1), ("hangs", 0.05), ("silent", 0.05), ("good", 0.6)):
        assert abs(counts[fault] / len(ids) - share) < 0.03, counts
    first, second = (nature.of(found, "sim-00007").random("board").random() for found in (one, again))
    assert first == second


def test_the_page_shows_every_key_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "simulate.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    shown = scenario.parse(text, "docs/simulate.md")
    assert {phase.kind for phase in shown.phases} == {
        "connect",
        "reconnect",
        "telemetry",
        "release",
        "rollout",
        "commands",
        "idle",
    }
    assert shown.fleet.data, "without a default: it is a name"
    for table in ("fleet", "bad_link", "update"):
        usual = scenario.Scenario(phases=shown.phases, fleet=scenario.Fleet(data=shown.fleet.data))
        assert getattr(shown, table) == getattr(usual, table), table
        assert all(key in text for key in getattr(shown, table).model_dump())
    assert all(f"{key} = " in text for key in scenario.Misbehaving().model_dump())
    keys = {key for phase in shown.phases for key in phase.model_dump()} | set(scenario.Scenario.model_fields)
    assert not {key for key in keys - {"phases"} if f"{key} = " not in text and f"[{key}]" not in text}


@pytest.mark.parametrize("name", ["healthy", "rolls-back", "leak", "bad-link", "data-and-trust"])
def test_the_fleets_of_the_page_can_be_read(name: str) -> None:
    found = scenario.read(Path(__file__).parents[3] / "docs" / "scenarios" / f"{name}.toml")
    rollout = found.phases[-1]
    assert isinstance(rollout, scenario.Rollout) and rollout.ends
    assert rollout.key.parent.name == "scenarios"


def test_terms_of_a_rollout_are_checked_before_anything_starts() -> None:
    text = '[[phases]]\nkind = "connect"\n[[phases]]\nkind = "rollout"\nkey = "x"\nsoak = "soon"\n'
    with pytest.raises(TidegateError, match=r"phases\[2\].*soon"):
        scenario.parse(text, "here")
