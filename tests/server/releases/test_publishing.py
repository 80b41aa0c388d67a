"""`tidegate release publish` and `fetch` against a real server: asked first, resumed, repeated, and brought back."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import signed_releases as releases
from click.testing import CliRunner
from patience import limit
from release_folders import folder_of
from server_process import KeyRing, ServerProcess

from tidegate.cli import main
from tidegate.errors import TidegateError
from tidegate.release import fetch_releases, load_release, publish_release, verify_release
from tidegate.trust import keys, store

BOARD, PRODUCT, VENDOR = releases.BOARD, releases.PRODUCT, releases.VENDOR
TIDEGATE = [sys.executable, "-c", "from tidegate.cli import main; main()"]


@pytest.fixture
def two(ring: KeyRing, tmp_path: Path) -> tuple[Path, Path]:
    """Folders of 1.0.0 and 1.1.0, the second with a patch."""
    first = releases.make(ring.release, "1.0.0", 1)
    second = releases.make(ring.release, "1.1.0", 2, bases=(first["image"],))
    return folder_of(first, tmp_path / "1.0.0"), folder_of(second, tmp_path / "1.1.0", first)


def environment(server: ServerProcess) -> dict[str, str]:
    token = server.data / "admin.token"
    return {**os.environ, "TIDEGATE_SERVER": server.url, "TIDEGATE_TOKEN_FILE": str(token)}


def run(server: ServerProcess, *words: str | Path, code: int = 0) -> str:
    """The command where there is no terminal."""
    done = CliRunner().invoke(main, [str(word) for word in words], env=environment(server))
    assert done.exit_code == code, done.output
    return done.output


def at_a_terminal(server: ServerProcess, answer: str, *words: str | Path) -> tuple[int, str]:
    """The command at a terminal, where somebody answers its question."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TIDEGATE, *map(str, words)], env=environment(server), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said, answered, deadline = "", False, time.monotonic() + limit(60)
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(ours, 4096).decode(errors="replace")
        except OSError:
            break
        if not piece:
            break
        said += piece
        if "[y/N]" in said and not answered:
            answered = True
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return process.wait(limit(30)), said


def stored(server: ServerProcess) -> list[str]:
    """The payloads that were taken in, as the audit log has it: each upload that was one."""
    entries = server.api("GET", "/audit", params={"limit": 500})["entries"]
    return [entry["subject"] for entry in entries if entry["action"] == "payload.store"]


def test_it_shows_asks_and_takes_no_for_an_answer(start, two):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1, _6=bytes.fromhex(next(iter(load_release(two[0]).targets.values())).digest))
    assert "add --yes" in run(server, "release", "publish", two[0], code=1)
    assert "add --yes" in run(server, "release", "publish", two[0], "--json", code=1)
    code, said = at_a_terminal(server, "n", "release", "publish", two[0])
    assert code == 1 and "to upload: 1 of 1 payloads" in said and "Publish tidegate-gateway 1.0.0 on" in said
    assert server.api("GET", "/releases")["releases"] == [] and stored(server) == []
    run(server, "release", "publish", two[0], "--yes")
    code, said = at_a_terminal(server, "y", "release", "publish", two[1])
    patch = load_release(two[1]).targets[BOARD].patches[0].size
    assert code == 0 and f"a patch of {patch} bytes" in said and "gw-1" in said
    assert f"from 1.0.0 {patch} bytes" in said and "is published on" in said
    assert [one["version"] for one in server.api("GET", "/releases")["releases"]] == ["1.1.0", "1.0.0"]


def test_it_goes_on_where_it_was_cut_off_and_again_is_nothing(start, two):
    server = start()
    run(server, "release", "publish", two[0], "--yes")
    payloads = sorted((two[1] / "p").iterdir())
    server.api("PUT", f"/payloads/{payloads[0].name}", content=payloads[0].read_bytes())  # as far as it had come
    before = stored(server)
    assert "to upload: 1 of 2 payloads" in run(server, "release", "publish", two[1], "--yes")
    assert [name for name in stored(server) if name not in before] == [payloads[1].name]
    acts = len(server.api("GET", "/audit")["entries"])
    for _ in range(2):
        said = run(server, "release", "publish", two[1])  # nothing to do: nothing to ask
        assert "to upload: 0 of 2" in said and "it was already" in said
    assert len(server.api("GET", "/audit")["entries"]) == acts, "nothing was done"
    # Killed at any moment of many: the next one finishes.
    other = start(data=server.data.with_name("other"))
    for delay in (0.3, 0.5, 0.7, 0.9):
        process = subprocess.Popen(
            [*TIDEGATE, "release", "publish", str(two[0]), "--yes"],
            env=environment(other),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.kill()
        process.wait()
    run(other, "release", "publish", two[0], "--yes")
    assert other.api("GET", "/releases")["releases"][0]["version"] == "1.0.0"
    assert len(stored(other)) == 1 and other.api("GET", "/audit")["whole"]


def test_what_was_published_is_fetched_again(start, ring, two, tmp_path):
    server = start()
    run(server, "release", "fetch", "--out", tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []
    for folder in two:
        run(server, "release", "publish", folder, "--yes")
    out = tmp_path / "previous"
    run(server, "release", "fetch", "--out", out, "--last", "3", "--trust", ring.trust)
    assert [load_release(out / n).version for n in ("1", "2")] == ["1.1.0", "1.0.0"]
    for number, folder in (("1", two[1]), ("2", two[0])):
        assert (out / number / f"{BOARD}.suit").read_bytes() == (folder / f"{BOARD}.suit").read_bytes()
        payloads = {path.name: path.read_bytes() for path in (folder / "p").iterdir()}
        assert {path.name: path.read_bytes() for path in (out / number / "p").iterdir()} == payloads
    fetched = load_release(out / "1").targets[BOARD]
    assert (fetched.patches[0].base_version, fetched.patches[0].base_sequence) == ("1.0.0", 1)
    verify_release(load_release(out / "1"), store.load(ring.trust), [load_release(out / "2")])
    assert "exists" in run(server, "release", "fetch", "--out", out, code=1)
    told = json.loads(run(server, "release", "fetch", "--out", tmp_path / "b", "--before", "2", "--json"))
    assert [(one["version"], one["sequence"]) for one in told] == [("1.0.0", 1)]
    run(server, "release", "fetch", "--out", tmp_path / "v", "--version", "1.0.0")
    assert load_release(tmp_path / "v" / "1").version == "1.0.0"


def test_what_a_server_gives_out_is_not_believed(start, ring, two, tmp_path):
    server = start()
    run(server, "release", "publish", two[0], "--yes")
    strangers = tmp_path / "strangers.cbor"
    strangers.write_bytes(store.encode(store.make([ring.stranger, keys.new("command")])))
    out = tmp_path / "previous"
    assert "not in the trust store" in run(server, "release", "fetch", "--out", out, "--trust", strangers, code=1)
    assert not out.exists(), "nothing that was not checked is there"
    digest = load_release(two[0]).targets[BOARD].digest
    stored_at = server.data / "payloads" / digest[:2] / digest
    stored_at.write_bytes(stored_at.read_bytes()[:-1] + b"?")
    assert "came with other bytes" in run(server, "release", "fetch", "--out", tmp_path / "p", code=1)


def test_a_server_that_answers_something_else_is_named(ring, tmp_path):
    envelope = base64.b64encode(releases.make(ring.release, "1.0.0", 1)["envelopes"][BOARD]).decode()
    good = {"product": PRODUCT, "vendor": VENDOR, "version": "1.0.0", "sequence": 1, "envelopes": {BOARD: envelope}}
    wrong: list[Any] = [None, {}, [1], [good, good], [{**good, "product": "other"}], [{**good, "version": "2"}]]
    wrong += [[{**good, "sequence": number}] for number in ("1", 9)]
    wrong += [[{**good, "envelopes": members}] for members in ({}, [], {"../../x": envelope}, {BOARD: "?"})]
    for number, answer in enumerate(wrong):
        server = SimpleNamespace(fetch_releases=lambda *_, answer=answer: answer, payload=lambda digest: b"")
        out = tmp_path / str(number)
        with pytest.raises(TidegateError):
            fetch_releases(server, out, product=PRODUCT, before=9, version="1.0.0")
        assert not out.exists() and list(tmp_path.iterdir()) == []


def test_a_server_gets_no_file_but_the_releases_own(two, tmp_path):
    release, sent = load_release(two[0]), {}
    secret = tmp_path / "secret"
    secret.write_text("nobody's business")
    (payload,) = release.targets[BOARD].payloads
    server = SimpleNamespace(
        plan_release=lambda _: {"missing": [payload, str(secret), "../../secret", "0" * 64]},
        put_payload=sent.__setitem__,
        publish=lambda _: {},
    )
    publish_release(release, server)
    assert list(sent) == [payload]
