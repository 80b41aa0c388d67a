"""`tidegate rollout`, the part for rollouts in waves: options, tables, and the verbs that steer one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tidegate.cli._common import (
    confirm,
    connect,
    emit,
    json_option,
    product_option,
    rows,
    say,
    server_options,
    yes_option,
)
from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.rollout import durations, gate
from tidegate.rollout import slo as slo_of
from tidegate.rollout import terms as terms_of
from tidegate.rollout.device_states import STATES

F = TypeVar("F", bound=Callable[..., Any])

PRODUCT = product_option("Of this product.")
_OPTIONS = (
    click.option(
        "--to", help="In waves, to these devices: all, or board=..,group=..,channel=..,label.KEY=..,seen<24h."
    ),
    click.option("--waves", help=f"Percentages, numbers of devices, groups. Default: {terms_of.WAVES}."),
    click.option("--soak", help=f"How long a wave must run it before the next. Default: {terms_of.SOAK}."),
    click.option("--max-failures", help=f"More pause it: 2%, 5, or 2%,5. Default: {terms_of.MAX_FAILURES}."),
    click.option(
        "--min-sample", type=int, help=f"Devices a percentage is of, at least. Default: {terms_of.MIN_SAMPLE}."
    ),
    click.option("--deadline", help=f"A device that needs longer is overdue, a failure. Default: {terms_of.DEADLINE}."),
    click.option("--manual", is_flag=True, help="A person or CI opens each next wave: tidegate rollout promote."),
    click.option("--gate", help="Each next wave waits for a check outside: webhook:2, or a name like ci (docs)."),
    click.option("--gate-timeout", help=f"Without its answer for so long it pauses. Default: {gate.TIMEOUT}."),
    click.option("--rate", help="Offers go out at most so fast: 100/min."),
    click.option("--window", help="Offers go out only then: 'Mon-Fri 09:00-16:00 Europe/Vienna'."),
    click.option(
        "--watch", multiple=True, help="Compare with others: crashes, restarts, offline, or measured, as heap<10%."
    ),
    click.option("--error", type=float, help=f"How likely --watch may stop a good one. Default: {terms_of.ERROR}."),
)


def terms_options(function: F) -> F:
    """The options of a rollout in waves, as `terms`: a dict for the server, empty if none of them is given."""

    @functools.wraps(function)
    def with_terms(**words: Any) -> Any:
        names = terms_of.NAMES
        given = {name: words.pop(name) for name in names}
        terms = {name: list(value) if name == "watch" else value for name, value in given.items() if value}
        if terms:
            terms.setdefault("to", "all")
            terms_of.parse(terms)  # a mistake is said before anybody is asked
        return function(**words, terms=terms)

    for option in reversed(_OPTIONS):
        with_terms = option(with_terms)
    return with_terms  # type: ignore[return-value]


def start(api: Server, product: str, version: str, terms: dict[str, Any], yes: bool, as_json: bool) -> None:
    """Show who is in which wave, ask, and start it."""
    plan = api.waves.plan(product, version, terms)
    if not as_json:
        show_plan(plan)
    confirm(f"Roll {product} {version} out in {len(plan['waves'])} waves?", yes, as_json)
    answer = api.waves.start(product, version, terms)

    def show(value: dict[str, Any]) -> None:
        again = "" if value.get("started") else " already"
        say(f"{product} {version} is rolled out in waves to {value['terms']['to']}{again}")
        show_status(value)

    emit({**answer, "plan": plan}, as_json, show)


def show_plan(plan: dict[str, Any]) -> None:
    lines = [
        {
            **row,
            "wave": f"{row['wave']} ({plan['waves'][row['wave'] - 1]['size']})",
            "gets": _gets(row),
            "ids": _named(row),
        }
        for row in plan["rows"]
    ]
    columns = {"wave": "WAVE", "devices": "DEVICES", "board": "BOARD", "version": "FROM", "gets": "WOULD GET"}
    rows(lines, {**columns, "ids": "WHICH"}, "No device that is selected would get it.")
    for wave in plan["waves"]:
        if not wave["devices"]:
            say(f"wave {wave['wave']} ({wave['size']}) has no devices, and the next opens at once")
    for why, many in plan["excused"].items():
        say(f"{many} selected {'devices get' if many > 1 else 'device gets'} nothing: {why}")
    if plan["beyond"]:
        say(f"{plan['beyond']} selected devices are in no wave: the last wave is not 100%")


def show_status(value: dict[str, Any]) -> None:
    name = f"{value['product']} {value['version']} (sequence {value['sequence']})"
    say(f"{name}: {value['state']}, wave {value['wave']} of {len(value['waves'])}, to {value['terms']['to']}")
    say(value["why"])
    lines = [
        {**wave["counts"], "wave": f"{wave['wave']} ({wave['size']})", "open": "open" if wave["open"] else ""}
        for wave in value["waves"]
    ]
    used = [state for state in STATES if state != "excused" and any(line.get(state) for line in lines)]
    rows(lines, {"wave": "WAVE", "open": "", **{state: state.upper() for state in used}}, "")
    excused = value["counts"].get("excused", 0)
    left_out = f"; {excused} left out" if excused else ""
    allowed = value["terms"]["max_failures"]
    say(f"failures: {value['failed']} of {value['sample']} that ended; allowed {allowed}{left_out}")
    for one in value["health"]:
        say(one["text"])


def status(api: Server, product: str, version: str, devices: bool, state: str | None, as_json: bool) -> bool:
    """Show a rollout in waves; False if the release has none."""
    try:
        value = api.waves.status(product, version)
    except ServerError as error:
        if error.status != 404:
            raise
        return False
    listed = list(api.waves.devices(product, version, state)) if devices or state else []

    def show(value: dict[str, Any]) -> None:
        show_status(value)
        if devices or state:
            columns = {"id": "DEVICE", "group": "GROUP", "board": "BOARD", "wave": "WAVE", "from": "FROM"}
            columns |= {"version": "RUNS", "state": "STATE", "since": "SINCE", "why": "WHY"}
            rows(value["devices"], columns, "No device is in this state.")

    emit({**value, "devices": listed} if devices or state else value, as_json, show)
    return True


def listed(api: Server) -> list[dict[str, Any]]:
    """The rollouts in waves; none of a server that does not know them."""
    try:
        return api.waves.listed()
    except ServerError as error:
        if error.status != 404:
            raise
        return []


def show_listed(listed: list[dict[str, Any]]) -> None:
    lines = [{**one, "wave": f"{one['wave']}/{one['waves']}"} for one in listed]
    columns = {
        "version": "IN WAVES",
        "sequence": "SEQUENCE",
        "to": "TO",
        "wave": "WAVE",
        "state": "STATE",
        "why": "WHY",
    }
    if lines:
        rows(lines, columns, "")


# ---------------------------------------------------------------- verbs


def add_verbs(group: click.Group) -> None:
    for verb in (plan, why, history, pause, resume, abort, promote, slo):
        group.add_command(verb)


@click.command(
    epilog="""\b
Examples:
  tidegate rollout plan 1.1.0 --to group=canary --waves 5,100%
  tidegate rollout plan 1.1.0 --to all --waves 1%,10%,50%,100% --json
  tidegate rollout plan maps@7 --to group=canary"""
)
@click.argument("version")
@terms_options
@PRODUCT
@server_options
@json_option
def plan(
    version: str, terms: dict[str, Any], product: str, server: str, token_file: Path | None, as_json: bool
) -> None:
    """Show who would be in which wave, from which version, and what each would download. Changes nothing.

    The waves are those that the same `rollout start` then has: a device's place is a hash of the release and its id.
    """
    with connect(server, token_file) as api:
        emit(api.waves.plan(product, version, terms or {"to": "all"}), as_json, show_plan)


@click.command(
    epilog="""\b
Examples:
  tidegate rollout why 1.1.0
  tidegate rollout why 1.1.0 --json"""
)
@click.argument("version")
@PRODUCT
@server_options
@json_option
def why(version: str, product: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Say in one sentence what a rollout in waves waits for, or why it stopped."""
    with connect(server, token_file) as api:
        value = api.waves.status(product, version)
    told = {name: value[name] for name in ("product", "version", "state", "why")}
    emit(told, as_json, lambda told: say(f"{told['state']}: {told['why']}"))


@click.command(
    epilog="""\b
Examples:
  tidegate rollout history 1.1.0
  tidegate rollout history 1.1.0 --json"""
)
@click.argument("version")
@PRODUCT
@server_options
@json_option
def history(version: str, product: str, server: str, token_file: Path | None, as_json: bool) -> None:
    """Show what happened to a rollout in waves: when, by whom, why."""
    with connect(server, token_file) as api:
        found = list(api.waves.history(product, version))
    columns = {"at": "TIME", "kind": "WHAT", "by": "BY", "why": "WHY"}
    emit(found, as_json, lambda found: rows(found, columns, "Nothing happened to it."))


def _gets(row: dict[str, Any]) -> str:
    what = {"patch": "a patch of {} bytes", "image": "the image, {} bytes", "unknown": "it; has not said what it runs"}
    what |= {"data": "a file of {} bytes", "trust": "a trust update of {} bytes"}
    through = f", through {' and '.join(row['through'])}" if row.get("through") else ""
    return what[row["gets"]].format(row["bytes"]) + through


def _named(row: dict[str, Any]) -> str:
    ids = row.get("ids", [])
    more = row["devices"] - len(ids)
    return " ".join(ids) + (f" and {more} more" if ids and more > 0 else "")


def _steering(
    act: str, question: str, done: str, examples: str, text: str, own_option: Callable[..., Any] = lambda verb: verb
) -> click.Command:
    """A verb that steers a rollout. own_option: one more, whose value the server is told."""

    @click.command(act, epilog=f"\b\nExamples:\n{examples}", help=text)
    @click.argument("version")
    @click.option("--why", "reason", help="For the history, and for who asks later.")
    @own_option
    @PRODUCT
    @yes_option
    @server_options
    @json_option
    def verb(
        version: str,
        reason: str | None,
        product: str,
        yes: bool,
        server: str,
        token_file: Path | None,
        as_json: bool,
        **own: Any,
    ) -> None:
        with connect(server, token_file) as api:
            confirm(f"{question} {product} {version}?", yes, as_json)
            answer = api.waves.steer(act, product, version, reason, **own)

        def show(value: dict[str, Any]) -> None:
            say(f"{product} {version} {done}")
            show_status(value)

        emit(answer, as_json, show)

    return verb


pause = _steering(
    "pause",
    "Pause the rollout of",
    "is offered to nobody more",
    '  tidegate rollout pause 1.1.0 --why "support has calls" --yes\n  tidegate rollout pause 1.1.0 --yes --json',
    "Offer VERSION to nobody more, and withdraw the offers that no device has taken.\n\n"
    "Devices that have it, or are about to install it, keep it.",
)
resume = _steering(
    "resume",
    "Resume the rollout of",
    "goes on",
    '  tidegate rollout resume 1.1.0 --why "a bad batch" --yes\n  tidegate rollout resume 1.1.0 --yes --json',
    "Go on with a rollout that is paused.\n\nWhat failed until now is accepted: the failure budget begins anew.",
)
abort = _steering(
    "abort",
    "Abort the rollout of",
    "is aborted",
    '  tidegate rollout abort 1.1.0 --why "1.1.1 replaces it" --yes\n  tidegate rollout abort 1.1.0 --yes --json',
    "End a rollout in waves for good.\n\nDevices that have VERSION keep it: to bring them back, make a release of the "
    "old image (`tidegate release rollback`).",
)


promote = _steering(
    "promote",
    "Open the next wave of",
    "goes on to its next wave",
    '  tidegate rollout promote 1.1.0 --why "smoke test passed" --yes\n'
    "  tidegate rollout promote 1.1.0 --wave 2 --yes --json",
    "Open the next wave now, whatever the present one waits for: by hand, or from CI after its own check.\n\n"
    "This is the answer to a gate (`tidegate docs rollouts`); the other one is `tidegate rollout pause`.",
    click.option("--wave", type=click.IntRange(1), help="The wave that was checked: an error if it is not the newest."),
)


@click.command(
    epilog="""\b
Examples:
  tidegate rollout slo
  tidegate rollout slo --set 1%/30d --yes
  tidegate rollout slo --lift 2h --why "1.1.1 mends it" --yes
  tidegate rollout slo --set none --yes"""
)
@click.option("--set", "budget", help="At most so many updates may fail in a period: 1%/30d; none takes it away.")
@click.option("--lift", help="Let rollouts begin for so long although it is spent: 2h. The audit log has it.")
@click.option("--why", "reason", help="Why it is lifted.")
@PRODUCT
@yes_option
@server_options
@json_option
def slo(
    budget: str | None,
    lift: str | None,
    reason: str | None,
    product: str,
    yes: bool,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show, set or lift the error budget of a product: while it is spent, no rollout begins.

    Setting and lifting need a token with the scope rollout.
    """
    if budget is not None and lift is not None:
        raise click.UsageError("name --set or --lift, not both")
    if lift is not None and not reason:
        raise click.UsageError("--lift needs --why, for the audit log")
    text = None if budget in (None, "none") else str(slo_of.parse(budget or ""))
    seconds = durations.parse(lift, "--lift") if lift else 0
    with connect(server, token_file) as api:
        if budget is not None:
            confirm(f"Set the error budget of {product} to {text or 'none'}?", yes, as_json)
            found = [api.waves.set_budget(product, text)]
        elif lift is not None:
            confirm(f"Let rollouts of {product} begin for {durations.words(seconds)}?", yes, as_json)
            found = [api.waves.lift_budget(product, seconds, reason or "")]
        else:
            found = [one for one in api.waves.budgets() if one["product"] == product]

    def show(value: dict[str, Any] | None) -> None:
        if value is None:
            say(f"{product} has no error budget; set one: tidegate rollout slo --set 1%/30d")
            return
        say(f"{product}: {value['why']}{'; no rollout begins' if value['frozen'] else ''}")

    emit(found[0] if found else None, as_json, show)
