"""A fleet whose trust store has a root key, and its trust updates."""

from __future__ import annotations

import base64
from typing import Any

from server_process import KeyRing, ServerProcess

from tidegate.trust import keys, rotation, store
from tidegate.trust.keys import Key


class RootRing(KeyRing):
    """A fleet's keys with a root key, and the stores of three versions with the updates between them."""

    def __init__(self, folder: Any):
        super().__init__(folder)
        self.root = keys.new("root")
        self.new_release = keys.new("release")
        self.stores = [store.make([self.release, self.command, self.root])]
        self.trust.write_bytes(store.encode(self.stores[0]))
        self.updates: list[bytes] = []
        self.add([self.new_release], [])
        self.add([], [self.release.kid])

    def add(self, added: list[Key], removed: list[bytes]) -> None:
        self.stores.append(rotation.succeed(self.stores[-1], added, removed))
        self.updates.append(rotation.sign(rotation.propose(self.stores[-1]), [self.root]))


def post(server: ServerProcess, update: bytes, **kwargs: Any) -> Any:
    return server.http.post("/api/v1/trust", json={"update": base64.b64encode(update).decode()}, **kwargs)
