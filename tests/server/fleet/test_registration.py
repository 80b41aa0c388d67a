"""Many devices in one request: all or none, the same answer to the same request, nothing to others."""

from __future__ import annotations

import json
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from server_process import BOARD, PRODUCT
from sqlalchemy import select, update

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.errors import Conflict
from ota_server.fleet import registration
from ota_server.fleet.registration import Wanted
from ota_server.mqtt import mosquitto_files
from ota_server.security import audit, password_hashes, tokens
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, migrate
from ota_server.store.models import Audit, Device
from tidegate.cli import main
from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError
from tidegate.registration import batches, credentials, lists
from tidegate.registration.lists import Listed

ONE, TWO = "00" * 16, "11" * 16


class Api:
    """The API of an application in this process, with mosquitto's files beside it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.config = Config(folder / "data", mosquitto_dir=folder / "mosquitto")
        self.config.data.mkdir()
        self.config.broker_password.write_text("secret\n")
        migrate(self.config.database)
        self.store = Store(self.config.database)
        with self.store.write() as session:
            self.token = tokens.new_token(session, "test", ["admin"])
        self.http: FlaskClient = create_app(self.config, self.store).test_client()
        self.written = 0
        write = mosquitto_files.write

        def count(*arguments: Any) -> None:
            self.written += 1
            write(*arguments)

        monkeypatch.setattr(mosquitto_files, "write", count)

    def post(self, path: str, body: Any) -> Any:
        return self.http.post(f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {self.token}"})

    def batch(self, ids: list[str], request: str = ONE, **facts: str) -> Any:
        devices = [{"id": name, "board": BOARD, "product": PRODUCT, **facts} for name in ids]
        return self.post("/devices/batch", {"request": request, "devices": devices})

    def devices(self) -> list[str]:
        with self.store.read() as session:
            return list(session.scalars(select(Device.id).order_by(Device.id)))

    def acts(self) -> list[str]:
        with self.store.read() as session:
            assert audit.first_break(session) is None
            return list(session.scalars(select(Audit.subject).where(Audit.action == "device.register")))


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api(tmp_path, monkeypatch)
    yield made
    made.store.close()


def test_hundreds_in_one_transaction_and_one_write_of_the_brokers_files(api: Api) -> None:
    ids = [f"gw-{number:03d}" for number in range(500)]
    answer = api.batch(ids)
    assert answer.status_code == 201 and answer.json["known"] == []
    assert [one["id"] for one in answer.json["devices"]] == ids == api.devices() == api.acts()
    assert api.written == 1
    users = (api.config.mosquitto_dir / "passwords").read_text()
    hashes = dict(line.split(":", 1) for line in users.splitlines())
    for one in answer.json["devices"]:
        assert len(bytes.fromhex(one["coap"]["key"])) == 32
    last = answer.json["devices"][-1]
    assert password_hashes.matches(last["mqtt"]["password"].encode(), hashes[ids[-1]])
    assert len({one["mqtt"]["password"] for one in answer.json["devices"]}) == 500


def test_the_same_request_gets_the_same_answer_and_another_learns_nothing(api: Api) -> None:
    first = api.batch(["gw-1", "gw-2"]).json["devices"]
    again = api.batch(["gw-1", "gw-2"])
    assert again.status_code == 200 and again.json == {"devices": first, "known": []}
    other = api.batch(["gw-1", "gw-2", "gw-3"], TWO)
    assert other.json["known"] == ["gw-1", "gw-2"] and [one["id"] for one in other.json["devices"]] == ["gw-3"]
    assert api.acts() == ["gw-1", "gw-2", "gw-3"] and api.written == 2


def test_a_device_that_was_heard_or_has_other_credentials_since_keeps_them_to_itself(api: Api) -> None:
    api.batch(["gw-1", "gw-2", "gw-3"])
    assert api.post("/devices/gw-1/credentials", {}).status_code == 200
    with api.store.write() as session:
        session.execute(update(Device).where(Device.id == "gw-2").values(last_seen_at=1))
    answer = api.batch(["gw-1", "gw-2", "gw-3"]).json
    assert answer["known"] == ["gw-1", "gw-2"] and [one["id"] for one in answer["devices"]] == ["gw-3"]


@pytest.mark.parametrize("why", ["device-differs", "device-revoked", "name-taken", "reserved"])
def test_one_that_cannot_be_registered_leaves_all_out(api: Api, why: str) -> None:
    api.batch(["gw-1"])
    board = "qemu_mps2" if why == "device-differs" else BOARD
    name = "gw-1"
    if why == "device-revoked":
        api.post("/devices/gw-1/revoke", {})
    elif why == "name-taken":
        name = "pump"
        headers = {"Authorization": f"Bearer {api.token}"}
        assert api.http.patch("/api/v1/devices/gw-1", json={"name": name}, headers=headers).status_code == 200
    elif why == "reserved":
        name, why = "hall", "name-taken"
        assert api.post("/claims", {"name": name}).status_code == 201
    answer = api.batch(["gw-0", name, "gw-2"], TWO, board=board)
    assert answer.status_code == 409 and answer.json["type"].endswith(why)
    assert name in answer.json["detail"] and "nothing was registered" in answer.json["detail"] and answer.json["remedy"]
    assert api.devices() == ["gw-1"] and api.acts() == ["gw-1"] and api.written <= 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"request": "1", "devices": [{"id": "a", "board": "b", "product": "c"}]}, "32 hex digits"),
        ({"request": ONE, "devices": []}, "devices"),
        ({"request": ONE, "devices": [{"id": "a", "board": "b", "product": "c"}] * 2}, "a is listed twice"),
        ({"request": ONE, "devices": [{"id": "a", "board": "b", "product": "c"}] * 501}, "devices"),
        ({"request": ONE, "devices": [{"id": "a", "board": "b", "product": "c"}, {"id": "A"}]}, "devices.1"),
        ({"request": ONE, "devices": [{"id": "A!", "board": "b", "product": "c"}]}, "'A!' is not a valid device id"),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(api: Api, body: Any, says: str) -> None:
    answer = api.post("/devices/batch", body)
    assert answer.status_code == 400 and says in answer.json["detail"], answer.json
    assert api.devices() == []


@pytest.mark.broker
def test_two_lists_with_the_same_devices_at_once_on_postgresql(tmp_path: Path) -> None:
    with databases.postgresql() as url:
        migrate(url)
        store, keys = Store(url), Keys(tmp_path / "secret")
        wanted = [Wanted(f"gw-{number}", BOARD, PRODUCT) for number in range(50)]
        found: list[registration.Registered] = []
        wrong: list[Exception] = []

        def register(request: bytes, order: list[Wanted]) -> None:
            try:
                with store.write() as session:
                    found.append(registration.register(session, keys, request, order, "test"))
            except Exception as error:
                wrong.append(error)

        lines = [(bytes([n]) * 16, wanted if n % 2 else wanted[::-1]) for n in range(4)]
        threads = [threading.Thread(target=register, args=line) for line in lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert sorted(len(one.made) for one in found) == [0, 0, 0, 50]
        with store.read() as session:
            assert audit.first_break(session) is None
        other = wanted[0]._replace(product="other")
        with pytest.raises(Conflict), store.write() as session:
            registration.register(session, keys, b"x" * 16, [*wanted[1:], other], "test")
        store.close()


# ---------------------------------------------------------------- the command


def add(server: Any, *words: str) -> Any:
    token = server.data / "admin.token"
    options = ["--server", server.url, "--token-file", str(token), "--known-devices", str(token.parent / "known")]
    return CliRunner().invoke(main, ["device", "add", *words, *options])


def test_a_list_is_registered_and_a_rerun_goes_on(shared, tmp_path: Path) -> None:
    prefix = f"hall-{secrets.token_hex(4)}"
    ids = [f"{prefix}-{number}" for number in range(3)]
    file, out = tmp_path / "hall.csv", tmp_path / "hall.credentials.json"
    file.write_text("\ufeffid,board\r\n" + "".join(f"{name},{BOARD}\r\n" for name in ids[:2]))
    done = add(shared, "--from", str(file), "--out", str(out))
    assert done.exit_code == 0 and "2 devices are registered" in done.output, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first = json.loads(out.read_text())["devices"]
    assert first[ids[0]]["password"] not in done.output
    device = shared.device(ids[0], first[ids[0]]["password"])
    device.born()
    file.write_text("\n".join(json.dumps({"id": name, "board": BOARD}) for name in ids))
    done = add(shared, "--from", str(file), "--out", str(out), "--json")
    assert json.loads(done.output) == {"registered": 1, "in_file": 2, "known": [], "file": str(out)}
    assert {name: one for name, one in json.loads(out.read_text())["devices"].items() if name in ids[:2]} == first
    done = add(shared, "--from", str(file), "--out", str(tmp_path / "other.json"), "--json")
    assert json.loads(done.output)["known"] == ids, "another file has another request"


def test_an_answer_that_got_lost_comes_again(shared, tmp_path: Path) -> None:
    devices = [Listed(f"lost-{secrets.token_hex(4)}-{number}", BOARD, PRODUCT) for number in range(3)]
    file = credentials.opened(tmp_path / "lost.json", shared.url)
    with Server(shared.url, shared.token) as api:
        answer = api.add_devices(file.request, [one._asdict() for one in devices])
        assert batches.register(api, file.request, devices, file.add) == []
        again = credentials.opened(tmp_path / "lost.json", shared.url)
        assert [one.password for one in again.devices.values()] == [
            one["mqtt"]["password"] for one in answer["devices"]
        ]
        with pytest.raises(ServerError, match="another board or product"):
            batches.register(api, file.request, [devices[0]._replace(product="other")], file.add)


def test_the_server_is_asked_nothing_with_a_wrong_list(tmp_path: Path) -> None:
    file = tmp_path / "list"
    for text, says in {
        "id\ngw-1\nGW 2\n": "line 3: 'GW 2' is not a valid device id",
        "id\ngw-1\n\ngw-1\n": "line 4: gw-1 is in line 2 already",
        "id,board\ngw-1\n": "line 2: it has 1 cells, the heading has 2",
        "id;board\ngw-1;unix\n": "line 1: 'id;board' is not a heading",
        "name\ngw-1\n": "line 1: 'name' is not a heading",
        "id,board\ngw-1,\n": "",
        'id\n"gw-1\n': "it is not CSV",
        '{"id": "gw-1"}\n{"id": "gw-2", "group": "x"}\n': "line 2: it must be an object with id, board, product",
        '{"id": "gw-1"}\n{"id": 7}\n': "line 2: 7 is not a valid device id",
        '{"id": "gw-1"}\n{"board": "unix"}\n': "line 2: there is no id",
        '{"id": "gw-1"\n': "line 1: it is not JSON",
        "": "lists no device",
        "id\n": "lists no device",
    }.items():
        file.write_text(text)
        if not says:
            assert lists.read(file, "unix", PRODUCT) == [Listed("gw-1", "unix", PRODUCT)]
            continue
        with pytest.raises(TidegateError) as wrong:
            lists.read(file, "unix", PRODUCT)
        assert says in wrong.value.message and wrong.value.remedy, text
    file.write_text("id\ngw-1\n")
    with pytest.raises(TidegateError, match="line 2: there is no board"):
        lists.read(file, None, PRODUCT)
    file.write_bytes(b"id\n\xff\n")
    with pytest.raises(TidegateError, match="UTF-8"):
        lists.read(file, None, PRODUCT)
    file.write_bytes(b"x" * (lists.MAX_FILE + 1))
    with pytest.raises(TidegateError, match="longer than"):
        lists.read(file, None, PRODUCT)


def test_the_file_of_credentials_is_of_one_server_and_ours(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    made = credentials.opened(path, "http://one")
    made.add([credentials.Credentials("gw-1", "secret", "00")])
    assert "secret" not in repr(made)
    with pytest.raises(TidegateError, match="of devices of http://one"):
        credentials.opened(path, "http://two")
    for text in (
        "[]",
        "{}",
        "",
        path.read_text().replace('"secret"', "7"),
        path.read_text().replace(made.request, "00"),
    ):
        path.write_text(text)
        with pytest.raises(TidegateError, match="Name another|not a file of credentials"):
            credentials.opened(path, "http://one")


def test_one_device_or_a_list(tmp_path: Path) -> None:
    for words, says in (
        ((), "Name one device, or a list"),
        (("gw-1", "--from", "x", "--board", "unix"), "Name one device, or a list"),
        (("gw-1",), "Missing option '--board'"),
        (("--from", str(tmp_path / "x")), "--out"),
    ):
        done = CliRunner().invoke(main, ["device", "add", *words])
        assert done.exit_code == 2 and says in done.output, done.output
