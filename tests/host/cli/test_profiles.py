"""Profiles: which server and token count, and files that cannot be used. tests/host/cli/test_with_server.py logs in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from at_terminal import AtTerminal
from click.testing import Result

from tidegate.client import profiles
from tidegate.client.profiles import Profile
from tidegate.errors import TidegateError

Cli = Callable[..., Result]
LAB = Profile("lab", "http://127.0.0.1:9", "one")
FIELD = Profile("field", "https://field.example", "two")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("TIDEGATE_SERVER", "TIDEGATE_TOKEN_FILE", "TIDEGATE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "tidegate" / "profiles.json"


def test_the_last_one_counts_and_tokens_stay_with_their_server(file: Path) -> None:
    assert profiles.read().find(None) is None and profiles.read().token_for(LAB.server, None) is None
    profiles.add(LAB)
    profiles.add(FIELD)
    found = profiles.read()
    assert (found.find(None), found.find("lab")) == (FIELD, LAB)
    assert found.token_for(FIELD.server + "/", None) == "two"
    assert found.token_for(LAB.server, None) == "one"
    assert found.token_for(LAB.server, "field") is None and found.token_for("https://other.example", None) is None
    assert profiles.remove(None) == FIELD
    assert profiles.read().find(None) is None and profiles.read().find("lab") == LAB
    with pytest.raises(TidegateError, match="there is no profile to forget"):
        profiles.remove(None)


@pytest.mark.parametrize("text", ("{", "[]", '{"current": null}', '{"current": "a", "profiles": {"a": {}}}'))
def test_a_file_that_cannot_be_used(cli: Cli, file: Path, text: str) -> None:
    profiles.add(LAB)
    file.write_text(text)
    done = cli("device", "list")
    assert done.exit_code == 1 and f"{file} cannot be read" in done.stderr and "tidegate login" in done.stderr


def test_a_file_that_others_may_read(cli: Cli, file: Path) -> None:
    profiles.add(LAB)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    done = cli("device", "list")
    assert done.exit_code == 1 and "others may read it" in done.stderr and f"chmod 600 {file}" in done.stderr


def test_the_profile_in_the_environment(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.add(LAB)
    profiles.add(FIELD)
    monkeypatch.setenv("TIDEGATE_PROFILE", "lab")
    assert "http://127.0.0.1:9 cannot be reached" in cli("device", "list").stderr
    assert cli("logout", "--profile", "lab", "--json").exit_code == 0
    assert "there is no profile lab" in cli("device", "list").stderr


def test_what_login_refuses(cli: Cli, file: Path, tmp_path: Path) -> None:
    done = cli("login", "http://127.0.0.1:9")
    assert done.exit_code == 1 and "no terminal" in done.stderr and "--token-file" in done.stderr
    (tmp_path / "token").write_text("abc\n")
    for words, says in (
        (("http://127.0.0.1:9",), "http://127.0.0.1:9 cannot be reached"),
        (("ftp://x",), "is not an HTTP address"),
        (("http://127.0.0.1:9", "--profile", "a b"), "is not a name of a profile"),
        (("http://tidegate.example",), "has no TLS"),
    ):
        done = cli("login", *words, "--token-file", tmp_path / "token")
        assert done.exit_code == 1 and says in done.stderr, done.stderr
    assert not file.exists()


def test_a_typed_token_is_not_shown(file: Path) -> None:
    terminal = AtTerminal("login", "http://127.0.0.1:9")
    terminal.wait_for(b"Token")
    terminal.type(b"secret-token\n")
    code, shown = terminal.end(), terminal.shown
    assert code == 1 and b"cannot be reached" in shown and b"secret" not in shown, shown


def test_no_token_in_answers(cli: Cli, file: Path) -> None:
    profiles.add(LAB)
    assert json.loads(cli("logout", "--json").stdout) == {"profile": "lab", "server": LAB.server}
