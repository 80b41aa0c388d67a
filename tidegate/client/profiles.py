"""Profiles: servers that a person logged in to, each with its token, in a file that only that person may read."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from tidegate import json_text, user_folder
from tidegate.errors import TidegateError

FILE = "profiles.json"
_MAX = 256 * 1024  # bytes of the file


@dataclass(frozen=True)
class Profile:
    name: str
    server: str
    token: str


@dataclass(frozen=True)
class Profiles:
    """All of them by name. current: the name of the one that commands take where none is named; None without any."""

    known: dict[str, Profile]
    current: str | None = None

    def find(self, name: str | None) -> Profile | None:
        """The profile `name`, or the current one; TidegateError for a name that there is not."""
        name = name or self.current
        if name is None:
            return None
        if name not in self.known:
            there = f"There are {', '.join(sorted(self.known))}" if self.known else "There are none"
            raise TidegateError(
                f"there is no profile {name}", f"{there}; `tidegate login URL --profile {name}` makes it"
            )
        return self.known[name]

    def token_for(self, server: str, name: str | None) -> str | None:
        """The token for `server`: of the profile `name`, or the current one, else of any. A token goes to no other
        server than its own."""
        first = self.find(name)
        if first is None:
            return None
        candidates = [first] if name else [first, *self.known.values()]
        return next((one.token for one in candidates if one.server == server.rstrip("/")), None)


def read() -> Profiles:
    """What is in the file; no profiles where there is none."""
    path = user_folder.path(FILE)
    try:
        with path.open("rb") as stream:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise TidegateError(f"{path} holds tokens, and others may read it", f"Run chmod 600 {path}")
            value = json_text.loads(stream.read(_MAX))
        known = {name: Profile(name, str(one["server"]), str(one["token"])) for name, one in value["profiles"].items()}
        current = value["current"]
    except FileNotFoundError:
        return Profiles({})
    except (OSError, json_text.NotJson, KeyError, TypeError, AttributeError) as error:
        raise TidegateError(f"{path} cannot be read: {error}", "Delete it; `tidegate login` makes it again") from error
    return Profiles(known, current if isinstance(current, str) and current in known else None)


def add(profile: Profile) -> None:
    """Keep it, and make it the current one."""
    _write({**read().known, profile.name: profile}, profile.name)


def remove(name: str | None) -> Profile:
    """Forget the profile `name`, or the current one; TidegateError if there is none."""
    found = read()
    gone = found.find(name)
    if gone is None:
        raise TidegateError("there is no profile to forget", "Name one with --profile")
    rest = {name: one for name, one in found.known.items() if name != gone.name}
    _write(rest, found.current if found.current in rest else None)
    return gone


def _write(known: dict[str, Profile], current: str | None) -> None:
    entries = {name: {"server": one.server, "token": one.token} for name, one in sorted(known.items())}
    user_folder.write(FILE, {"current": current, "profiles": entries})
