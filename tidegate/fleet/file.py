"""Reads fleet.yaml, the desired state of a fleet. Every error names the file and the line.

YAML's SafeLoader makes plain values only, and of YAML only what such a file needs is accepted: no aliases, no tags, no
key twice, no value of an unexpected type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.names import Name
from tidegate.rollout import Terms, slo, subject, terms
from tidegate.rollout.slo import Slo

MAX_SIZE = 1 << 20  # bytes
_MAX_DEPTH = 8
_LEVELS = ("error", "info", "debug")
_DEFAULT = "default"  # the group of devices that no other group has


@dataclass(frozen=True)
class GroupSpec:
    """What the file declares for one group; None: nothing, and the present state stays.

    devices: ids or names, with their lines; settings: dotted keys of config.json, with their values.
    """

    name: str
    line: int
    channel: str | None = None
    release: str | None = None
    devices: dict[str, int] | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True)
class RolloutSpec:
    """A rollout in waves that the file declares."""

    line: int
    terms: Terms


@dataclass(frozen=True)
class FleetFile:
    """A fleet.yaml; `product` is that of pinned releases, of the error budget `slo` and of rollouts, which are by
    version. None: not declared.
    """

    path: Path
    groups: dict[str, GroupSpec]
    product: str | None = None
    rollouts: dict[str, RolloutSpec] | None = None
    slo: Slo | None = None

    def wrong(self, line: int, what: str, remedy: str) -> NoReturn:
        _wrong(self.path, line, what, remedy)


@dataclass(frozen=True)
class _At:
    """A value and its line."""

    value: Any
    line: int


@dataclass
class _Reader:
    path: Path
    homes: dict[str, str] = field(default_factory=dict)  # device -> the group that lists it

    def wrong(self, line: int, what: str, remedy: str = "Correct it; the format: `tidegate docs gitops`") -> NoReturn:
        _wrong(self.path, line, what, remedy)

    # ------------------------------------------------------------ YAML

    def document(self) -> _At:
        data = read_limited(self.path, MAX_SIZE, "fleet file")
        try:
            text = data.decode("utf-8")
            depth = 0
            for event in yaml.parse(text, Loader=yaml.SafeLoader):  # as a stream: stop reading where it is too deep
                line = event.start_mark.line + 1 if event.start_mark else 1
                if isinstance(event, yaml.AliasEvent):
                    self.wrong(line, "aliases (*) are not read", "Write it out")
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > _MAX_DEPTH:
                    self.wrong(line, "it is nested too deeply")
            loader = yaml.SafeLoader(text)
            try:
                node = loader.get_single_node()
                if node is None:
                    self.wrong(1, "the file is empty")
                return self._value(loader, node)
            finally:
                loader.dispose()
        except UnicodeDecodeError as error:
            self.wrong(data[: error.start].count(b"\n") + 1, "the file is not UTF-8 text")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.wrong(mark.line + 1 if mark else 1, f"not valid YAML: {error.problem or error.context}")
        except (yaml.YAMLError, RecursionError) as error:
            self.wrong(1, f"not valid YAML: {str(error).splitlines()[0]}")

    def _value(self, loader: Any, node: yaml.Node) -> _At:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return _At(self._mapping(loader, node), line)
        if isinstance(node, yaml.SequenceNode):
            return _At([self._value(loader, item) for item in node.value], line)
        return _At(self._scalar(loader, node), line)

    def _scalar(self, loader: Any, node: yaml.Node) -> Any:
        try:
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, KeyError, AttributeError, IndexError):
            what = f"{node.value!r:.60} cannot be read as what it is marked as ({node.tag})"
            self.wrong(node.start_mark.line + 1, what)

    def _mapping(self, loader: Any, node: yaml.MappingNode) -> dict[str, _At]:
        found: dict[str, _At] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            key = self._scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.wrong(line, f"the key {getattr(key_node, 'value', '')!r:.60} is not text", "Put it in quotes")
            if key in found:
                self.wrong(line, f"{key} is given twice, first in line {found[key].line}", "Keep one of them")
            found[key] = _At(self._value(loader, item), line)
        return found

    # ------------------------------------------------------------ contents

    def map(self, at: _At, what: str, known: tuple[str, ...] = ()) -> dict[str, _At]:
        """The mapping at `at`: name -> _At(_At(value, its line), line of the name)."""
        if not isinstance(at.value, dict):
            self.wrong(at.line, f"{what} must be a mapping of names to values")
        for key, item in at.value.items():
            if known and key not in known:
                self.wrong(item.line, f"{what} has no {key!r}", f"Known are: {', '.join(known)}")
        return {key: item.value for key, item in at.value.items()}

    def name(self, at: _At, name: Name) -> str:
        if not isinstance(at.value, str):
            self.wrong(at.line, f"a {name.what} must be text, and {at.value!r:.60} is not", "Put it in quotes")
        if not name.fits(at.value):
            self.wrong(at.line, name.refusal(at.value), name.remedy)
        return at.value

    def group(self, name: str, at: _At) -> GroupSpec:
        if not names.GROUP.fits(name):
            self.wrong(at.line, names.GROUP.refusal(name), names.GROUP.remedy)
        if at.value is None:
            return GroupSpec(name, at.line)
        found = self.map(at, f"group {name}", ("channel", "release", "devices", "settings"))
        if "channel" in found and "release" in found:
            self.wrong(found["release"].line, f"group {name} has a channel and a release", "Name one of them")
        return GroupSpec(
            name,
            at.line,
            self.name(found["channel"], names.CHANNEL) if "channel" in found else None,
            self.name(found["release"], names.VERSION) if "release" in found else None,
            self.devices(name, found["devices"]) if "devices" in found else None,
            self.settings(found["settings"]) if "settings" in found else None,
        )

    def devices(self, group: str, at: _At) -> dict[str, int]:
        if group == _DEFAULT:
            self.wrong(
                at.line, "the group default has no list: every device that no group lists is in it", "Remove devices"
            )
        if not isinstance(at.value, list):
            self.wrong(at.line, "devices must be a list of ids or names")
        found: dict[str, int] = {}
        for item in at.value:
            device = self.name(item, names.DEVICE)
            if device in self.homes:
                self.wrong(item.line, f"device {device} is listed already, in group {self.homes[device]}")
            self.homes[device], found[device] = group, item.line
        return found

    def rollouts(self, at: _At) -> dict[str, RolloutSpec]:
        """By what is rolled out (tidegate.rollout.subject). Each is checked as the command line checks its options."""
        found: dict[str, RolloutSpec] = {}
        for version, item in self.map(at, "rollouts").items() if at.value is not None else ():
            try:
                subject.parse(version)
            except TidegateError as error:
                self.wrong(item.line, error.message, error.remedy)
            members = self.map(item, f"rollout {version}", terms.NAMES)
            document = {
                name: [one.value for one in member.value] if isinstance(member.value, list) else member.value
                for name, member in members.items()
            }
            try:
                found[version] = RolloutSpec(item.line, terms.parse(document))
            except TidegateError as error:
                self.wrong(item.line, f"rollout {version}: {error.message}", error.remedy)
        return found

    def slo(self, at: _At) -> Slo:
        try:
            return slo.parse(at.value)
        except TidegateError as error:
            self.wrong(at.line, f"slo: {error.message}", error.remedy)

    def settings(self, at: _At) -> dict[str, Any]:
        """Nested or dotted names, as dotted ones."""
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}

        def walk(prefix: str, at: _At) -> None:
            for name, item in self.map(at, "settings").items():
                key = prefix + name
                if isinstance(item.value, dict):
                    walk(key + ".", item)
                    continue
                if key in found:
                    self.wrong(item.line, f"{key} is given twice, first in line {lines[key]}")
                self.setting(key, item)
                found[key], lines[key] = item.value, item.line

        if at.value is not None:
            walk("", at)
        return found

    def setting(self, key: str, at: _At) -> None:
        for pattern, (kind, fits) in _SETTINGS.items():
            if re.fullmatch(pattern, key):
                if not fits(at.value):
                    self.wrong(at.line, f"{key} must be {kind}, and {at.value!r:.60} is not")
                return
        self.wrong(
            at.line,
            f"{key} is not a setting that can be changed over the air",
            "Known are telemetry_period_s, trial_timeout_s, restart_wait_s, log_level, streams, store and app "
            "(`tidegate docs config`)",
        )


def _wrong(path: Path, line: int, what: str, remedy: str) -> NoReturn:
    raise TidegateError(f"{path}, line {line}: {what}", remedy)


def _whole(least: int, most: int) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        return type(value) is int and least <= value <= most

    return f"a whole number from {least} to {most}", fits


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


# The device checks again, and knows more: its streams and their limits.
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "telemetry_period_s": _whole(1, 86400),
    "trial_timeout_s": _whole(10, 3600),
    "restart_wait_s": _whole(0, 604_800),
    r"app\.[a-z_]{1,32}": (
        "a number, a text, true or false",
        lambda value: _is_number(value) or isinstance(value, (str, bool)),
    ),
    "log_level": (f"one of {', '.join(_LEVELS)}", lambda value: value in _LEVELS),
    "store\\.segments": _whole(1, 100_000),
    "store\\.drop": ("text", lambda value: isinstance(value, str)),
    "store\\.write_s": ("a number", _is_number),
    r"streams\.[^.]{1,64}\.(period_ms|window)": _whole(0, 2**31 - 1),
    r"streams\.[^.]{1,64}\.over\.[^.]{1,64}": ("a number", _is_number),
}


def load_file(path: Path) -> FleetFile:
    """Read `path`; TidegateError names what is wrong and its line."""
    reader = _Reader(path)
    top = reader.map(reader.document(), "the file", ("product", "groups", "rollouts", "slo"))
    if "groups" not in top:
        reader.wrong(1, "the file has no groups")
    product = reader.name(top["product"], names.PRODUCT) if "product" in top else None
    named = reader.map(top["groups"], "groups")
    groups = {name: reader.group(name, at) for name, at in named.items()}
    rollouts = reader.rollouts(top["rollouts"]) if "rollouts" in top else None
    slo = reader.slo(top["slo"]) if "slo" in top else None
    return FleetFile(path, groups, product, rollouts, slo)
