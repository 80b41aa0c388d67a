"""Starting and stopping: what can go wrong is said in one line with a remedy, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from patience import limit
from server_process import eventually

from ota_server.address import Address
from ota_server.mqtt.url import BrokerUrl
from tidegate.cli import main
from tidegate.errors import TidegateError


def serve(data, *arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
    """`tidegate serve` that is expected to end by itself."""
    command = [sys.executable, "-m", "ota_server", "serve", "--data", str(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(120), **kwargs)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr and done.stderr.startswith("Error: "), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_an_address_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused(serve(tmp_path / "a", "--http", "127.0.0.1:0", "--mqtt", address), address, "--mqtt")
        refused(serve(tmp_path / "b", "--http", address, "--mqtt", "127.0.0.1:0"), address, "--http")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:70000", "h:²"])
def test_an_address_that_is_none(address):
    with pytest.raises(TidegateError, match="127.0.0.1:8080") as refusal:
        Address.parse(address)
    assert address in refusal.value.message


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://h:99999", "mqtt://h/path", "mqtt://u:secret@h:x", "x"])
def test_a_broker_address_that_is_none(url):
    with pytest.raises(TidegateError, match="mqtt://USER@HOST:PORT") as refusal:
        BrokerUrl(url)
    assert "secret" not in str(refusal.value)


def test_bad_options_are_said_in_one_line(tmp_path):
    refused(serve(tmp_path / "data", "--http", "nonsense"), "nonsense", "127.0.0.1:8080")
    refused(serve(tmp_path / "data", "--http", "127.0.0.1:0", "--broker", "x"), "mqtt://USER@HOST:PORT")


def test_a_password_in_the_broker_address_is_not_printed(start):
    server = start(env={"TIDEGATE_BROKER_URL": "mqtt://someone:hidden-secret@127.0.0.1:1"})
    assert "hidden-secret" not in (server.data / "serve.json").read_text() + server.log.read_text() + server.mqtt
    assert server.http.get("/healthz").status_code == 200, "the API works without a broker"
    server.register("gw-1")


def test_a_trust_store_that_is_none(tmp_path):
    refused(serve(tmp_path / "data", "--trust", str(tmp_path / "missing")), "missing", "does not exist")
    (tmp_path / "bad").write_bytes(b"\xa1\x01\x01")
    refused(serve(tmp_path / "data", "--trust", str(tmp_path / "bad")), "trust store")
    assert not (tmp_path / "data" / "trust.cbor").exists()


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    refused(serve(tmp_path / "file" / "data"), "data")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tidegate.db").write_bytes(b"this is not a database" * 100)
    refused(serve(tmp_path / "broken"), "not a database")


def test_two_servers_on_one_folder(start, tmp_path):
    server = start()
    refused(serve(server.data, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"), "another server", "--data")
    assert json.loads((server.data / "serve.json").read_text())["http"] == server.url
    assert server.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_with_people_connected(start, how):
    server = start()
    device = server.device("gw-1")
    device.online()
    idle = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    server.process.send_signal(how)
    began = time.monotonic()
    assert server.process.wait(limit(60)) == 0 and time.monotonic() - began < 40, "an idle connection has 60 s"
    assert not (server.data / "serve.json").exists() and "Traceback" not in server.log.read_text()
    idle.close()


def test_killed_and_started_again(start):
    """kill -9 loses nothing that was answered, and the next start takes over the folder."""
    server = start()
    server.register("gw-1")
    (server.data / "payloads" / ".part-of-a-dead-upload").write_bytes(b"x")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    (server.data / "serve.json").unlink()
    again = start(data=server.data)
    assert [device["id"] for device in again.api("GET", "/devices")["devices"]] == ["gw-1"]
    assert not (server.data / "payloads" / ".part-of-a-dead-upload").exists()
    assert again.api("GET", "/audit")["whole"]


def test_what_it_prints(tmp_path):
    command = [sys.executable, "-m", "ota_server", "serve", "--data", str(tmp_path / "data"), "--json"]
    command += ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = json.loads(process.stdout.readline())
    assert told["http"].startswith("http://127.0.0.1:") and told["mqtt"].startswith("mqtt://127.0.0.1:")
    eventually(lambda: (tmp_path / "data" / "serve.json").exists())
    process.terminate()
    out, err = process.communicate(timeout=limit(60))
    assert (process.returncode, out, err) == (0, "", "")


def test_tokens_are_shown_as_text_and_numbers_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    data = str(tmp_path / "data")

    def run(*words: str):
        return CliRunner().invoke(main, ["token", *words, "--data", data], prog_name="tidegate")

    assert run("new", "--scope", "read", "--name", "\x1b[2Jci\u202e").exit_code == 0
    listed = run("list")
    assert listed.exit_code == 0 and "\\x1b[2Jci" in listed.stdout and "\x1b" not in listed.stdout
    assert run("revoke", "1" + "0" * 30).exit_code == 2
    refused = run("new", "--scope", "read", "--name", "\udcff")
    assert refused.exit_code == 1 and "is not UTF-8" in refused.stderr
    assert len(json.loads(run("list", "--json").stdout)) == 2, "the admin's and one"
    made = json.loads(run("new", "--scope", "read", "--json").stdout)
    assert made["scopes"] == ["read"] and made["token"].startswith("tg_")
    out = tmp_path / "ci.token"
    assert json.loads(run("new", "--scope", "read", "--out", str(out), "--json").stdout)["file"] == str(out)
    assert json.loads(run("revoke", "3", "--json").stdout)["id"] == 3
    assert "does not exist or was revoked" in json.loads(run("revoke", "3", "--json").stderr)["error"]
    whole = json.loads(CliRunner().invoke(main, ["audit", "--data", data, "--json"]).stdout)
    assert whole["whole"] and whole["entries_to"] > 3 and len(whole["head"]) == 64
    words = ["mosquitto", str(tmp_path / "m"), "--data", data, "--json"]
    assert json.loads(CliRunner().invoke(main, words).stdout)["wrote"] == ["passwords", "access"]
