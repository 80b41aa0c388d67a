"""The commands that talk to a server, against a real one with a broker inside and a real MQTT client as device."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from click.testing import Result
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit
from projects import ROOT, write_app

from tidegate.client.server import Server
from tidegate.client.tokens import read_token
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.trust import store as trust_store
from tidegate.wire.cbor import dumps

pytestmark = pytest.mark.server

Cli = Callable[..., Result]
BOARD, PRODUCT = "qemu_mps2", "tidegate-gateway"
START_S = 90  # a busy machine takes a while to import it all
PAGE = 50  # devices the server lists at once


@dataclass
class Running:
    """A server process: its addresses and the file with the admin token."""

    data: Path
    process: subprocess.Popen[bytes]
    http: str = ""
    mqtt_port: int = 0

    @property
    def options(self) -> tuple[str, ...]:
        return "--server", self.http, "--token-file", str(self.data / "admin.token")


@pytest.fixture
def server(tmp_path: Path, key_folder: Path) -> Iterator[Running]:
    data = tmp_path / "server"
    arguments = ["serve", "--data", str(data), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
    arguments += ["--trust", str(key_folder / "trust.cbor")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ota_server", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "server.log").open("wb"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + limit(START_S)
        while not (data / "serve.json").exists():
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.05)
        told = json.loads((data / "serve.json").read_text())
        yield Running(data, process, told["http"], int(told["mqtt"].rpartition(":")[2]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(limit(15))


@dataclass
class Gateway:
    """Answers commands as a device does: verifies, remembers the counter, refuses what it does not offer."""

    id: str
    credentials: dict[str, str]
    port: int
    store: trust_store.TrustStore
    nonce: bytes = bytes(range(8))
    last: bytes = bytes(8)
    silent: bool = False
    refusals: list[str] = field(default_factory=list)

    def __enter__(self) -> Gateway:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.id)
        self.client.username_pw_set(self.credentials["user"], self.credentials["password"])
        ready = threading.Event()
        self.client.on_message = lambda _client, _data, message: self.hear(message.payload)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_connect = lambda *_: self.client.subscribe(f"tg/{self.id}/down/cmd", qos=1)
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        assert ready.wait(10)
        born = {1: 1, 2: BOARD, 3: PRODUCT, 4: "1.0.0", 5: 1, 6: bytes(32), 7: self.nonce, 8: "power-on"}
        self.say("state", {1: True}, retain=True)
        self.say("birth", {**born, 9: False, 10: "1.25.0", 11: 1}, retain=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def say(self, topic: str, message: Any, retain: bool = False) -> None:
        self.client.publish(f"tg/{self.id}/up/{topic}", dumps(message), qos=1, retain=retain)

    def hear(self, data: bytes) -> None:
        if self.silent:
            return
        try:
            request = cwt.verify(data, self.store, self.id, nonce=self.nonce, last=self.last)
        except Refused as refusal:
            self.refusals.append(refusal.reason)
            self.say("alarm", {1: "command-refused", 2: refusal.reason, 3: refusal.message})
            return
        self.last = request.cti
        if request.opcode == "info":
            self.say("result", {1: request.cti, 2: 0, 3: {"heap_free": 70000, **request.arguments}})
        elif request.opcode == "ping":
            self.say("result", {1: request.cti, 2: 1, 4: "ValueError: it broke"})
        else:
            self.say("result", {1: request.cti, 2: 2, 4: f"opcode: {request.opcode} is not offered here"})


@pytest.fixture
def gateway(cli: Cli, server: Running, tmp_path: Path, key_folder: Path) -> Iterator[Gateway]:
    out = tmp_path / "credentials.json"
    added = cli("device", "add", "gate-7", "--board", BOARD, "--out", out, *server.options)
    assert added.exit_code == 0, added.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    credentials = json.loads(out.read_text())
    assert credentials["password"] not in added.stdout
    with Gateway("gate-7", credentials, server.mqtt_port, trust_store.load(key_folder / "trust.cbor")) as device:
        eventually(lambda: shown(cli, server)["nonce"])
        yield device


def eventually(check: Callable[[], Any], timeout_s: float = 10) -> Any:
    deadline = time.monotonic() + limit(timeout_s)
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"did not happen in {timeout_s} s"
        time.sleep(0.1)


def shown(cli: Cli, server: Running) -> dict[str, Any]:
    result = cli("device", "show", "gate-7", "--json", *server.options)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def send(cli: Cli, server: Running, key: Path, *arguments: str) -> Result:
    return cli("cmd", "send", "gate-7", *arguments, "--key", key, *server.options)


def test_devices(cli: Cli, server: Running, gateway: Gateway) -> None:
    listed = cli("device", "list", *server.options)
    assert listed.exit_code == 0
    assert all(word in listed.stdout for word in ("gate-7", BOARD, "mqtt", "1.0.0", "yes"))
    facts = cli("device", "show", "gate-7", *server.options)
    assert gateway.nonce.hex() in facts.stdout and "revoked" not in facts.stdout and "reports" not in facts.stdout
    whole = cli("device", "show", "gate-7", "--all", *server.options).stdout
    assert "revoked" in whole and "reports" in whole
    again = cli("device", "add", "gate-7", "--board", BOARD, *server.options)
    assert again.exit_code == 1 and "gate-7" in again.stderr
    (server.data / "other.token").write_text("tg_of_another_server")
    refused = cli("device", "list", "--server", server.http, "--token-file", server.data / "other.token")
    assert (
        refused.exit_code == 1 and f"tidegate login {server.http}." in refused.stderr and "Bearer" not in refused.stderr
    )
    missing = cli("device", "show", "gate-8", *server.options)
    assert missing.exit_code == 1 and "gate-8" in missing.stderr
    assert cli("device", "show", "../devices", *server.options).exit_code == 1


def test_commands(cli: Cli, server: Running, gateway: Gateway, key_folder: Path) -> None:
    key = key_folder / "command.jwk"
    answered = send(cli, server, key, "info", "verbose=true", "name=ü")
    assert answered.exit_code == 0, answered.stderr
    assert "heap free" in answered.stdout and "70000" in answered.stdout and "ü" in answered.stdout
    told = json.loads(send(cli, server, key, "info", "--json").stdout)
    assert (told["state"], told["outcome"], told["device"]) == ("confirmed", "done", "gate-7")
    failed = send(cli, server, key, "ping")
    assert failed.exit_code == 1 and "it broke" in failed.stdout
    refused = send(cli, server, key, "fly")
    assert refused.exit_code == 1 and "is not offered here" in refused.stdout
    refused = send(cli, server, key, "fly", "--json")
    assert refused.exit_code == 1 and json.loads(refused.stdout)["state"] == "refused"
    assert gateway.refusals == []


def test_a_silent_device(cli: Cli, server: Running, gateway: Gateway, key_folder: Path) -> None:
    gateway.silent = True
    started = time.monotonic()
    waited = send(cli, server, key_folder / "command.jwk", "info", "--wait", "1.5")
    assert waited.exit_code == 1 and "has not answered" in waited.stdout
    assert 1.5 <= time.monotonic() - started < 5
    assert send(cli, server, key_folder / "command.jwk", "info", "--wait", "0").exit_code == 0


def test_commands_that_are_not_sent(cli: Cli, server: Running, gateway: Gateway, key_folder: Path) -> None:
    for arguments, says in (
        (("info", "--key", key_folder / "release.jwk"), "a command key is needed"),
        (("info", "--key", key_folder / "command.jwk.pub"), "a public key, which cannot sign"),
        (("rm -rf", "--key", key_folder / "command.jwk"), "is not a valid opcode"),
        (("info", "x=" + "y" * 1000, "--key", key_folder / "command.jwk"), "at most 1024"),
    ):
        result = cli("cmd", "send", "gate-7", *arguments, *server.options)
        assert result.exit_code == 1 and says in result.stderr
    assert send(cli, server, key_folder / "command.jwk", "info", "a=1", "novalue").exit_code == 2
    assert gateway.last == bytes(8)


def test_a_device_that_was_never_there(cli: Cli, server: Running, key_folder: Path) -> None:
    assert cli("device", "add", "gate-7", "--board", BOARD, *server.options).exit_code == 0
    result = send(cli, server, key_folder / "command.jwk", "info")
    assert result.exit_code == 1 and "has never connected" in result.stderr


def test_a_forged_command_raises_an_alarm_and_goes_nowhere(
    cli: Cli, server: Running, gateway: Gateway, tmp_path: Path
) -> None:
    assert "There are no alarms" in cli("alarms", "list", *server.options).stdout
    assert cli("key", "new", "--role", "command", "--out", tmp_path / "forger").exit_code == 0
    forged = send(cli, server, tmp_path / "forger", "info", "--wait", "2")
    assert forged.exit_code == 1 and "is not in the trust store" in forged.stderr
    assert gateway.refusals == []
    listed = eventually(lambda: "unknown-key" in (out := cli("alarms", "list", *server.options).stdout) and out)
    assert "command-refused" in listed and "gate-7" in listed
    told = json.loads(cli("alarms", "list", "--device", "gate-7", "--limit", "5", "--json", *server.options).stdout)
    assert "unknown-key" in json.dumps(told)


# ---------------------------------------------------------------- publishing


def build(cli: Cli, project: Path, key_folder: Path, out: Path, version: str, sequence: int, *more: object) -> Path:
    options = ("--source", project, "--board", BOARD, "--version", version, "--sequence", sequence, "--out", out)
    assert cli("release", "build", *options, *more).exit_code == 0
    assert cli("release", "sign", out, "--key", key_folder / "release.jwk").exit_code == 0
    return out


def test_publish(cli: Cli, server: Running, project: Path, key_folder: Path, tmp_path: Path) -> None:
    trust_option = ("--trust", key_folder / "trust.cbor")
    first = build(cli, project, key_folder, tmp_path / "1", "1.0.0", 1)
    write_app(project, "two")
    second = build(cli, project, key_folder, tmp_path / "2", "1.1.0", 2, "--previous", first)
    for _ in range(2):  # repeating is harmless
        published = cli("release", "publish", first, "--yes", *trust_option, *server.options)
        assert published.exit_code == 0, published.stderr
    published = cli("release", "publish", second, "--yes", *server.options, "--json")
    assert published.exit_code == 0, published.stderr
    assert json.loads(published.stdout)["version"] == "1.1.0"
    older = build(cli, project, key_folder, tmp_path / "3", "1.0.1", 1)
    refused = cli("release", "publish", older, "--yes", *server.options)
    assert refused.exit_code == 1 and "sequence" in refused.stderr


def test_publish_what_is_not_signed_well(
    cli: Cli, server: Running, project: Path, key_folder: Path, tmp_path: Path
) -> None:
    folder = build(cli, project, key_folder, tmp_path / "1", "1.0.0", 1)
    assert cli("release", "sign", folder, "--key", key_folder / "stranger.jwk").exit_code == 0
    refused = cli("release", "publish", folder, "--yes", *server.options)
    assert refused.exit_code == 1 and "not in the trust store" in refused.stderr
    refused = cli("release", "publish", folder, "--yes", "--trust", key_folder / "trust.cbor", *server.options)
    assert refused.exit_code == 1 and "not in the trust store" in refused.stderr
    (folder / f"{BOARD}.suit").unlink()
    refused = cli("release", "publish", folder, "--yes", *server.options)
    assert refused.exit_code == 1 and "is not signed" in refused.stderr


# ---------------------------------------------------------------- no server, no token


def test_server_away(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    result = cli("device", "list", "--server", "http://127.0.0.1:9", "--token-file", tmp_path / "token")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 cannot be reached" in result.stderr and "tidegate serve" in result.stderr
    result = cli("device", "list", "--server", "ftp://x", "--token-file", tmp_path / "token")
    assert result.exit_code == 1 and "is not an HTTP address" in result.stderr


def test_tokens(cli: Cli, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_TOKEN_FILE", raising=False)
    result = cli("device", "list", "--server", server.http)
    assert result.exit_code == 1 and "no token is given" in result.stderr
    (tmp_path / "token").write_text("wrong\n")
    result = cli("device", "list", "--server", server.http, "--token-file", tmp_path / "token")
    assert result.exit_code == 1 and "wrong" not in result.stderr
    (tmp_path / "token").write_text("two words\n")
    result = cli("device", "list", "--server", server.http, "--token-file", tmp_path / "token")
    assert result.exit_code == 1 and "does not hold a token" in result.stderr
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "token").write_text("wrong\n")
    result = cli("login", server.http, "--token-file", tmp_path / "token")
    assert result.exit_code == 1 and not (tmp_path / "config").exists(), "what the server does not know is not kept"
    result = cli("login", server.http + "/", "--token-file", server.data / "admin.token", "--profile", "lab", "--json")
    assert result.exit_code == 0, result.stderr
    assert (file := Path(json.loads(result.stdout)["file"])).stat().st_mode & 0o777 == 0o600
    assert read_token(server.data / "admin.token") in file.read_text()
    for words in ((), ("--profile", "lab"), ("--server", server.http)):
        result = cli("device", "list", *words)
        assert result.exit_code == 0, result.stderr
    result = cli("device", "list", "--server", server.http.replace("127.0.0.1", "localhost"))
    assert result.exit_code == 1 and "no token is given" in result.stderr, "a token goes to its own server only"
    result = cli("device", "list", "--token-file", tmp_path / "token")
    assert result.exit_code == 1, "what is given comes first"
    result = cli("device", "list", "--profile", "other")
    assert result.exit_code == 1 and "there is no profile other. There are lab" in result.stderr.replace("\n ", ".")
    monkeypatch.setenv("TIDEGATE_SERVER", "http://127.0.0.1:9")
    result = cli("device", "list", "--profile", "lab")
    assert result.exit_code == 1 and "no token is given" in result.stderr, "the environment wins"
    monkeypatch.setenv("TIDEGATE_SERVER", server.http)
    assert cli("logout").exit_code == 0 and "lab" not in file.read_text()
    assert cli("device", "list").exit_code == 1
    monkeypatch.setenv("TIDEGATE_TOKEN_FILE", str(server.data / "admin.token"))
    assert cli("device", "list").exit_code == 0


def test_more_devices_than_a_page(cli: Cli, server: Running) -> None:
    token = read_token(server.data / "admin.token")
    wanted = [f"gate-{number:03}" for number in range(PAGE + 5)]
    with Server(server.http, token) as api:
        for device in wanted:
            api.add_device(device, BOARD, PRODUCT)
    listed = json.loads(cli("device", "list", "--json", *server.options).stdout)
    assert [entry["id"] for entry in listed["devices"]] == wanted


def test_a_project_s_release_that_was_cut_while_it_was_published(
    cli: Cli, server: Running, key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between payloads and manifests: what is signed stays, the way on is said, and no number is lost."""
    monkeypatch.chdir(tmp_path)
    assert cli("new", "gate", "--vendor", "acme.example", "--board", "unix").exit_code == 0
    monkeypatch.chdir("gate")
    shutil.copytree(key_folder, "keys")
    release = ("release", "--publish", "--yes", "--key", "keys/release.jwk", *server.options)
    with monkeypatch.context() as patch:
        patch.setattr(Server, "publish", interrupt)
        done = cli(*release)
    out = tmp_path / "gate" / "releases" / "0.1.0"
    assert done.exit_code == 130 and f"To go on: tidegate release publish {out}\n" in done.stderr, done.stderr
    again = cli(*release)
    assert again.exit_code == 1 and f"To publish that one: tidegate release publish {out}." in again.stderr
    done = cli("release", "publish", str(out), "--yes", *server.options)
    assert done.exit_code == 0, done.stderr
    done = cli(*release, "--version", "0.2.0")
    assert done.exit_code == 0 and "sequence 2: the last published on" in done.stdout, done.stderr
    for number in range(3, 7):
        assert cli(*release, "--version", f"0.{number}.0").exit_code == 0
    shutil.rmtree("releases")  # as in a clean checkout, where a finished job is run again, or an old one
    for version, sequence in (("0.6.0", 6), ("0.1.0", 1)):
        again = cli(*release, "--version", version)
        assert again.exit_code == 1 and f"{version} is published on" in again.stderr, again.stderr
        assert f"as sequence {sequence}; a release is never changed" in again.stderr and not Path("releases").exists()
    done = cli(*release, "--version", "0.6.0", "--sequence", "6")  # whoever names the number is judged by the server
    assert done.exit_code == 1 and "is not newer" in done.stderr, done.stderr


def test_a_project_s_workflow_publishes_a_tag_and_leaves_no_secret(
    cli: Cli, server: Running, key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last step, as a shell runs it: here or in somebody's own project, where keys/ has to stay."""
    monkeypatch.chdir(tmp_path)
    assert cli("new", "tagged", "--vendor", "acme.example", "--board", "unix").exit_code == 0
    project, scratch = tmp_path / "tagged", tmp_path / "scratch"
    scratch.mkdir()
    shutil.copytree(key_folder, project / "keys")
    workflow = yaml.safe_load((project / ".github" / "workflows" / "gateway.yml").read_text())
    step = workflow["jobs"]["gateway"]["steps"][-1]
    assert step["if"] == "startsWith(github.ref, 'refs/tags/v')"
    secrets = {
        "RELEASE_KEY": (key_folder / "release.jwk").read_text(),
        "PUBLISH_TOKEN": read_token(server.data / "admin.token"),
    }
    assert set(step["env"]) == {*secrets, "TIDEGATE_SERVER"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **secrets, "TIDEGATE_SERVER": server.http, "PATH": path, "TMPDIR": str(scratch)}
    for version, code in (("0.2.0", 0), ("0.2.0", 1)):
        shutil.rmtree(project / "releases", ignore_errors=True)
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=project,
            env={**env, "GITHUB_REF_NAME": f"v{version}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        kept = {file.name for file in (project / "keys").iterdir()}
        assert kept == {file.name for file in key_folder.iterdir()} and not any(scratch.iterdir())
    assert "is published on" in done.stderr and "already" in done.stderr


def test_publishing_that_is_cut_at_each_step(
    cli: Cli, server: Running, key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each question to the server: it has all of it or nothing, and the same command goes on."""
    monkeypatch.chdir(tmp_path)
    assert cli("new", "gate", "--vendor", "acme.example", "--board", "unix").exit_code == 0
    monkeypatch.chdir("gate")
    (tmp_path / "table").write_bytes(b"1, 2, 3")
    key = ("--key", str(key_folder / "release.jwk"))
    assert cli("release", *key).exit_code == 0
    words = ("--board", "unix", "--version", "2", "--sequence", "2", "--vendor", "acme.example", "--out", "data")
    assert cli("data", "build", "table", tmp_path / "table", *words).exit_code == 0
    assert cli("data", "sign", "data", *key).exit_code == 0
    for publish, steps in (
        (("release", "publish", "releases/0.1.0", "--yes"), ("plan_release", "put_payload", "publish", "put_sbom")),
        (("data", "publish", "data"), ("put_payload", "publish_data")),
    ):
        for step in steps:
            for after in (False, True):
                with monkeypatch.context() as patch:
                    patch.setattr(Server, step, interrupted(getattr(Server, step), after))
                    done = cli(*publish, *server.options)
                said = (step, after, done.stdout + done.stderr)
                assert done.exit_code == 130 and done.stderr.endswith("Interrupted\n"), said
        assert cli(*publish, *server.options).exit_code == 0


def interrupted(method: Callable[..., Any], after: bool) -> Callable[..., Any]:
    def cut(*words: Any, **named: Any) -> None:
        if after:
            method(*words, **named)
        raise KeyboardInterrupt

    return cut


def interrupt(*_words: Any) -> None:
    raise KeyboardInterrupt
