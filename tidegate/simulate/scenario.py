"""A scenario file: what the fleet is, how it misbehaves, and what happens one after the other (docs/simulate.md).

TOML, checked before anything starts: an error names the key and what it must be.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.rollout import terms

MAX_SIZE = 65_536  # bytes of a scenario
REMEDY = "`tidegate docs simulate` has all keys"
_NUMBERS = "a number"
_WORDS = {"Extra inputs are not permitted": "is not a key of this table", "Field required": "is missing"}

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
# Strict models take no text for a path.
KeyFile = Annotated[Path, BeforeValidator(lambda given: Path(given) if isinstance(given, str) and given else given)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Fleet(_Table):
    """What the devices are, before the first phase. sign_s: until a board announces its birth again, signed. data: the
    data component that their application knows; none: an application without data."""

    product: Annotated[str, Field(pattern=rf"^{names.PRODUCT.pattern}$")] = "tidegate-simulated"
    board: Annotated[str, Field(pattern=rf"^{names.BOARD.pattern}$")] = "unix"
    vendor: Annotated[str, Field(min_length=1, max_length=64)] = "tidegate.example"
    image_bytes: Annotated[int, Field(ge=1000, le=4_000_000)] = 20_000
    sign_s: Seconds = 30.0
    data: Annotated[str, Field(pattern=rf"^{names.COMPONENT.pattern}$")] | None = None


class Misbehaving(_Table):
    """Fractions of the fleet, by what is wrong with them; one device has one fault at most."""

    bad_link: Fraction = 0.0
    rolls_back: Fraction = 0.0
    hangs: Fraction = 0.0
    silent: Fraction = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Misbehaving:
        if sum(self.model_dump().values()) > 1.000001:
            raise ValueError("add up to more than 1")
        return self


class BadLink(_Table):
    """Of the devices with a bad link: delay one way, what has to be sent again, and how often the connection breaks."""

    latency_ms: Annotated[float, Field(ge=0, le=60_000)] = 300.0
    jitter_ms: Annotated[float, Field(ge=0, le=60_000)] = 300.0
    loss: Annotated[float, Field(ge=0, le=0.9)] = 0.05
    breaks_every_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0


class Update(_Table):
    """How long the steps of an update take, and how many of the downloads are cut off in the middle and resumed.

    leaks: the fraction of its heap that a board loses a minute with a release of this run; it measures the heap with
    `values` of 3 and more.
    """

    apply_s: Seconds = 1.0
    restart_s: Seconds = 1.0
    trial_s: Seconds = 1.0
    hang_s: Seconds = 60.0
    interrupted: Fraction = 0.1
    leaks: Fraction = 0.0


class _Phase(_Table):
    """rate: telemetry packs a second, of all devices together; none: no telemetry in this phase."""

    name: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    rate: Rate | None = None

    @property
    def title(self) -> str:
        return self.name or str(getattr(self, "kind", "phase"))


class Connect(_Phase):
    """All devices connect, spread over so many seconds; it ends when the server shows all of them."""

    kind: Literal["connect"]
    over_s: Seconds = 10.0
    timeout_s: Seconds = 300.0


class Reconnect(_Phase):
    """Power is back after an outage: all connections break at once, and devices return within over_s."""

    kind: Literal["reconnect"]
    over_s: Seconds = 10.0
    timeout_s: Seconds = 300.0


class Telemetry(_Phase):
    """Packs at `rate` for so long; rate 0 is refused: a flood is a rate that nobody can reach."""

    kind: Literal["telemetry"]
    rate: Rate
    seconds: Seconds = 60.0


class Release(_Phase):
    """A release comes: published here with `key`, or by the operator while this waits. It ends when every device has
    ended its update.

    patch: publish the image that the devices run first, so that the new one is offered as a patch too.
    """

    kind: Literal["release"]
    key: KeyFile | None = None
    patch: bool = False
    timeout_s: Seconds = 900.0


class Rollout(_Phase):
    """A release comes in waves, content of the fleet's data component, or a trust store: published here and held back,
    and rolled out to all of the product. It ends when the rollout is done, or has paused itself.

    Its terms are those of `tidegate rollout start`. key: signs it, a root key for a trust store, which follows the one
    in the file `store`, or that of the phase before. ends: how it has to end; None: either way.
    """

    kind: Literal["rollout"]
    of: Literal["release", "data", "trust"] = "release"
    key: KeyFile
    store: KeyFile | None = None
    waves: str = "1%,10%,50%,100%"
    soak: str = "60s"
    max_failures: str = "2%"
    min_sample: Annotated[int, Field(ge=1)] = 20
    deadline: str = "10m"
    watch: list[str] = []
    ends: Literal["done", "paused"] | None = None
    timeout_s: Seconds = 3600.0

    @property
    def terms(self) -> dict[str, Any]:
        """As the API takes them."""
        own = self.model_dump(include={"waves", "soak", "max_failures", "min_sample", "deadline", "watch"})
        return {"to": "all", **own}

    @model_validator(mode="after")
    def _can_be_started(self) -> Rollout:
        try:
            terms.parse(self.terms)
        except TidegateError as error:
            raise ValueError(error.message) from None
        if (self.of == "trust") != (self.store is not None):
            raise ValueError('store is for a rollout of = "trust", which needs it: the trust store of the devices')
        return self


class Commands(_Phase):
    """Signed commands to devices chosen at random, `per_s` of them, until `count` were sent and answered."""

    kind: Literal["commands"]
    key: KeyFile
    opcode: Annotated[str, Field(pattern=rf"^{names.OPCODE.pattern}$")] = "info"
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    per_s: Rate = 10.0
    timeout_s: Seconds = 120.0


class Idle(_Phase):
    """Nothing but what boards do by themselves: pings, and telemetry if there is a rate."""

    kind: Literal["idle"]
    seconds: Seconds = 60.0


Phase = Annotated[
    Connect | Reconnect | Telemetry | Release | Rollout | Commands | Idle, Field(discriminator="kind", title="phase")
]


class Scenario(_Table):
    """seed: of all that is chosen at random; the same one makes the same choices. values: measurements in a pack."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    values: Annotated[int, Field(ge=1, le=64)] = 2
    fleet: Fleet = Fleet()
    misbehaving: Misbehaving = Misbehaving()
    bad_link: BadLink = BadLink()
    update: Update = Update()
    phases: Annotated[list[Phase], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _begins(self) -> Scenario:
        if not isinstance(self.phases[0], Connect):
            raise ValueError('begin with a phase of the kind "connect": nobody is connected before it')
        if self.fleet.data is None and any(isinstance(one, Rollout) and one.of == "data" for one in self.phases):
            raise ValueError('name the component in [fleet], as in data = "maps", for a rollout of = "data"')
        return self


DEFAULT = """\
seed = 1

[[phases]]
kind = "connect"
over_s = 10

[[phases]]
kind = "telemetry"
rate = 50
seconds = 30
"""


def read(path: Path | None) -> Scenario:
    """The scenario in this file, or the default one; TidegateError if it cannot be used. Paths in it are relative to
    its folder."""
    if path is None:
        return parse(DEFAULT, "the default scenario")
    try:
        text = read_limited(path, MAX_SIZE, "scenario").decode()
    except UnicodeDecodeError as error:
        raise TidegateError(f"{path} is not UTF-8 text", "Write it in UTF-8") from error
    found = parse(text, str(path))
    phases = [_beside(phase, path.parent) for phase in found.phases]
    return found.model_copy(update={"phases": phases})


def _beside(phase: Phase, folder: Path) -> Phase:
    """The phase with the paths of its files."""
    files = {name: value for name in ("key", "store") if (value := getattr(phase, name, None)) is not None}
    return phase.model_copy(update={name: folder / value for name, value in files.items()})


def parse(text: str, source: str) -> Scenario:
    """The scenario in this text; `source` is what errors call it."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TidegateError(f"{source} is not TOML: {error}", REMEDY) from error
    try:
        return Scenario.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise TidegateError(f"{source}: {_sentence(first['loc'], first['type'], first['msg'])}", REMEDY) from error


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    kinds = {"connect", "reconnect", "telemetry", "release", "rollout", "commands", "idle"}
    steps = [step for at, step in enumerate(loc) if not (step in kinds and at and isinstance(loc[at - 1], int))]
    place = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return f"{place}.kind must be one of {', '.join(sorted(kinds))}"
    what = _WORDS.get(message) or message.removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{place} {what}".strip()
