"""One product from `build` to `register`: whatever name the first step takes, every later one takes, and no other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import signed_releases as releases
from board_with_claim import Board, new_claim, post, reason
from click.testing import CliRunner, Result
from server_process import BOARD, KeyRing, ServerProcess

from tidegate.cli import main
from tidegate.errors import TidegateError
from tidegate.fleet import load_file
from tidegate.trust import keys

GOOD = ("my_gateway", "a.b", "tidegate-gateway", "9", "0_.-", "p" * 64)
BAD = ("", "_a", ".a", "-a", "My", "a b", "a/b", "a\n", "p" * 65, "ä")


class Way:
    """Each step of a product's way, by name; whether a step takes the product."""

    def __init__(self, server: ServerProcess, ring: KeyRing, folder: Path):
        self.server, self.ring, self.folder = server, ring, folder
        self.key = folder / "release.jwk"
        keys.save(ring.release, self.key)
        (folder / "content").write_bytes(b"content")
        self.environment = {
            **os.environ,
            "TIDEGATE_SERVER": server.url,
            "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token"),
        }

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], env=self.environment)

    def build(self, product: str, number: int) -> bool:
        words = ("--board", BOARD, "--version", "1", "--sequence", 1, "--product", product)
        done = self.run("data", "build", "table", self.folder / "content", *words, "--out", self.folder / str(number))
        return done.exit_code == 0

    def publish(self, product: str, number: int) -> bool:
        """As built; where nothing was, what somebody else's build might send: a good release's document, renamed."""
        folder = self.folder / str(number)
        if not folder.exists():
            body = {"name": "table", "product": product, "vendor": "tidegate.example", "version": "1", "sequence": 1}
            answer = self.server.http.post("/api/v1/data", json={**body, "targets": {BOARD: {"envelope": "AAAA"}}})
            assert answer.status_code == 422 and "product name" in answer.json()["detail"], answer.text
            return False
        assert self.run("data", "sign", folder, "--key", self.key).exit_code == 0
        done = self.run("data", "publish", folder, "--trust", self.ring.trust)
        return done.exit_code == 0

    def register(self, product: str, number: int) -> bool:
        return self.run("device", "add", f"names-{number}", "--board", BOARD, "--product", product).exit_code == 0

    def claim(self, product: str, _number: int) -> bool:
        if not product:
            return False  # the option left empty is no option: a claim for any product
        words = ("--trust", self.ring.trust, "--product", product)
        return self.run("device", "claim", *words, "--expires", "1h").exit_code == 0

    def enrol(self, product: str, _number: int) -> bool:
        answer = post(
            self.server,
            Board(product=product).asks(new_claim(self.server, self.ring.trust.read_bytes()), os.urandom(16)),
        )
        return answer.status_code == 200 or reason(answer) != "malformed"

    def file(self, product: str, number: int) -> bool:
        path = self.folder / f"{number}.yaml"
        path.write_text(f"product: {json.dumps(product)}\ngroups:\n  default:\n")
        try:
            return load_file(path).product == product
        except TidegateError as error:
            assert "product name" in error.message
            return False


@pytest.fixture
def way(shared: ServerProcess, ring: KeyRing, tmp_path: Path) -> Way:
    return Way(shared, ring, tmp_path)


@pytest.mark.parametrize("step", ["build", "publish", "register", "claim", "enrol", "file"])
def test_every_step_takes_the_same_products(step: str, way: Way) -> None:
    for number, product in enumerate([*GOOD, *BAD]):
        if step == "publish":
            way.build(product, number)
        assert getattr(way, step)(product, number) == (product in GOOD), f"{step} and {product!r}"


def test_a_device_of_every_product_is_offered_its_release(way: Way) -> None:
    """The bug this is about: `my_gateway` could be published and not registered, `a.b` the other way round."""
    for number, product in enumerate(GOOD[:2], 50):
        made = releases.make(way.ring.release, "1.0.0", 1, product=product)
        assert way.server.publish(made).status_code == 201
        way.server.register(f"names-{number}", product=product)
        assert way.server.shown(f"names-{number}")["offer"]["version"] == "1.0.0"
