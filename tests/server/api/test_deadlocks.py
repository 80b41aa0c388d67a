"""A request whose transaction PostgreSQL ended for a deadlock is carried out again, and nothing of it twice."""

from __future__ import annotations

import threading

import databases
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from ota_server.api import deadlocks
from ota_server.store import Store, migrate


@pytest.fixture(scope="module")
def store():
    with databases.postgresql() as url:
        migrate(url)
        made = Store(url)
        with made.write() as session:
            session.execute(text("CREATE TABLE pair (id int PRIMARY KEY, count int)"))
            session.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)"))
        yield made
        made.close()


def test_two_that_wait_for_each_other_both_succeed(store: Store) -> None:
    app, both, first = Flask("app"), threading.Barrier(2), threading.local()

    @app.post("/<int:one>/<int:other>")
    def change(one: int, other: int) -> str:
        with store.write() as session:
            session.execute(text("UPDATE pair SET count = count + 1 WHERE id = :id"), {"id": one})
            if not getattr(first, "done", False):
                first.done = True
                both.wait(30)
            session.execute(text("UPDATE pair SET count = count + 1 WHERE id = :id"), {"id": other})
        return "done"

    deadlocks.init_app(app)
    codes: list[int] = []

    def call(path: str) -> None:
        codes.append(app.test_client().post(path).status_code)

    threads = [threading.Thread(target=call, args=(path,)) for path in ("/1/2", "/2/1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [200, 200]
    with store.read() as session:
        assert list(session.scalars(text("SELECT count FROM pair ORDER BY id"))) == [2, 2]


@pytest.mark.parametrize(("state", "calls"), [("40P01", deadlocks.TRIES), ("40001", deadlocks.TRIES), ("57014", 1)])
def test_it_ends_and_only_these_are_tried_again(state: str, calls: int) -> None:
    app, seen = Flask("app"), []
    app.testing = True

    @app.get("/")
    def always() -> str:
        seen.append(1)
        cause = Exception("ended")
        cause.sqlstate = state
        raise OperationalError("x", {}, cause)

    deadlocks.init_app(app)
    with pytest.raises(OperationalError):
        app.test_client().get("/")
    assert len(seen) == calls
