"""Who may log in to the broker, and the two-line access rule of docs/wire.cddl.

A device writes below `tg/<device>/up/` and reads below `tg/<device>/down/`; its user name is its id. The server's own
user does it the other way round, for all devices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_DOWN = re.compile(r"tg/[^/]+/down/.")
_UP = re.compile(r"tg/[^/#]+/up/.")


class Principal(NamedTuple):
    """Who a connection acts for."""

    user: str
    internal: bool = False  # the server itself

    def may_publish(self, topic: str) -> bool:
        if self.internal:
            return _DOWN.match(topic) is not None
        return topic.startswith(f"tg/{self.user}/up/")

    def may_subscribe(self, pattern: str) -> bool:
        # The prefix is literal, so whatever wildcards follow cannot reach another device's topics.
        if self.internal:
            return _UP.match(pattern) is not None
        return pattern.startswith(f"tg/{self.user}/down/")


class Access:
    """Decides about logins. `check_device(user, password)` must compare in constant time.

    certificates: a device must also have shown a certificate, in TLS, with its id as the common name.
    """

    def __init__(
        self,
        server_user: str,
        check_server: Callable[[bytes], bool],
        check_device: Callable[[str, bytes], bool],
        certificates: bool = False,
    ) -> None:
        self.server = Principal(server_user, internal=True)
        self._check_server = check_server
        self._check_device = check_device
        self._certificates = certificates

    def login(self, user: str | None, password: bytes | None, shown: str | None = None) -> Principal | None:
        """The principal behind these credentials, or None. Runs in a worker thread; may touch the database.

        shown: the common name of the certificate that TLS has verified.
        """
        if not user or password is None:
            return None
        if user == self.server.user:
            return self.server if self._check_server(password) else None
        if self._certificates and shown != user:
            return None
        return Principal(user) if self._check_device(user, password) else None
