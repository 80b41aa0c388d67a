"""`tidegate flash`: put Tidegate on a board, or on several, over their serial ports."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tidegate import project
from tidegate.cli._common import FILE, FOLDER, board_here, emit, json_option, progress, rows, say, source_option
from tidegate.cli._flash_progress import lines
from tidegate.errors import TidegateError
from tidegate.flash import many, ports
from tidegate.flash.flasher import Outcome
from tidegate.flash.flasher import flash as flash_board
from tidegate.flash.flasher import verify as verify_board
from tidegate.flash.folder_session import PREFIX
from tidegate.flash.loader_files import KINDS, VERIFY
from tidegate.flash.many import Done, Stop
from tidegate.flash.request import Request
from tidegate.release import load_release


@click.command(
    epilog="""\b
PORT is a device name as mpremote takes it: a0 (/dev/ttyACM0), u0 (/dev/ttyUSB0), c0 (COM0), id:SERIAL, or a path; or
unix:FOLDER, for a Linux gateway that `boards/unix/gateway FOLDER` runs. Without one, or with `auto`, it is the only
board on USB that fits. Names of files for --config, --credentials, --claim, --client-cert and --client-key may hold
{id} (the board's unique id), {device} and {port}: each board has its own file then.

\b
Examples:
  tidegate flash --board qemu_mps2 --release releases/1.0.0 --trust trust.cbor \\
      --config gate-7.config.json --credentials gate-7.credentials.json
  tidegate flash /dev/ttyACM0 --board qemu_mps2 --release releases/1.1.0
  tidegate flash a0 --board qemu_mps2 --release releases/1.1.0 --verify-only
  tidegate flash --all --board qemu_mps2 --release releases/1.1.0 --trust trust.cbor \\
      --config 'gates/{id}.config.json' --credentials 'gates/{id}.credentials.json'
  tidegate flash a0 a1 u0 --board qemu_mps2 --release releases/1.1.0
  tidegate flash a0 --board qemu_mps2 --release releases/1.1.0 --verify signature
  tidegate flash a0 --board qemu_mps2 --config gate-7.config.json --ca tls/ca.crt
  tidegate flash unix:gate-9 --board unix --release releases/1.0.0 --trust trust.cbor \\
      --config gate-9.config.json --credentials gate-9.credentials.json"""
)
@click.argument("names", metavar="[PORT]...", nargs=-1)
@click.option("--auto", is_flag=True, help="The only board on USB that fits; refused when there are several.")
@click.option("--all", "every", is_flag=True, help="Every board on USB that fits, all at once.")
@click.option(
    "--board", "board_name", help="The board; any other is refused. Default: the project's, if it has one only."
)
@click.option("--release", "release_dir", type=FOLDER, help="Release whose image to install.")
@click.option("--trust", "trust_file", type=FILE, help="Trust store: the keys the board accepts.")
@click.option("--config", "config_file", type=FILE, help="Settings, JSON (`tidegate docs config`).")
@click.option("--credentials", "credentials_file", type=FILE, help="MQTT user and password, from `device add`.")
@click.option(
    "--claim", "claim_file", type=FILE, help="Claim to enrol with, from `device claim`, instead of credentials."
)
@click.option("--ca", type=FILE, help="Certificate of the authority that TLS trusts, PEM or DER.")
@click.option("--client-cert", type=FILE, help="The gateway's own certificate, where the broker asks for one.")
@click.option("--client-key", type=FILE, help="Its private key.")
@click.option(
    "--slots", type=click.Choice(KINDS), help="Where images are stored. Default: as before, or the board's default."
)
@click.option(
    "--verify", type=click.Choice(VERIFY), help="What a slot must have at every boot. Default: as before, or digest."
)
@click.option("--wipe", is_flag=True, help="Erase counters, staged updates and stored reports.")
@click.option("--verify-only", is_flag=True, help="Change nothing; exit code 1 if the board differs.")
@source_option("Project whose loader and boards to take, in place of the one around here.")
@json_option
def flash(
    names: tuple[str, ...],
    auto: bool,
    every: bool,
    board_name: str | None,
    release_dir: Path | None,
    trust_file: Path | None,
    config_file: Path | None,
    credentials_file: Path | None,
    claim_file: Path | None,
    ca: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    slots: str | None,
    verify: str | None,
    wipe: bool,
    verify_only: bool,
    source: Path | None,
    as_json: bool,
) -> None:
    """Put loader, trust store, settings and image on the board at PORT, and reset it.

    Everything is read back and compared; what the board has already is not written again. If the cable is pulled, run
    it again: it continues. Until the end the board boots what it booted before.
    """
    if (client_cert is None) != (client_key is None):
        raise click.UsageError("--client-cert and --client-key go together")
    auto = auto or ports.AUTO in names
    names = tuple(name for name in names if name != ports.AUTO)
    if (auto or every) and names or auto and every:
        raise click.UsageError("give ports, or --auto, or --all")
    board_name = board_name or board_here()
    sources = project.loader_sources() if source is None else project.sources_in(source)
    request = Request(
        board=sources.board(board_name),
        sources=sources,
        release=load_release(release_dir) if release_dir else None,
        trust=trust_file,
        config=config_file,
        credentials=credentials_file,
        claim=claim_file,
        ca=ca,
        client=(client_cert, client_key) if client_cert and client_key else None,
        wipe=wipe,
        slots=slots,
        verify=verify,
    )
    if every:
        fitting, others = many.find(request)
        if not as_json:
            for other in others:
                say(f"{other.port}: left alone, {other.error}")
        if not fitting:
            raise TidegateError(f"no board on USB is a {board_name}", "Plug them in, or name their ports")
        _several(fitting, request, verify_only, as_json)
    elif len(names) > 1:
        _several(_named(names), request, verify_only, as_json)
    else:
        _one(names[0] if names else many.the_only(request), request, verify_only, as_json)


def _named(names: tuple[str, ...]) -> list[str]:
    folders = [name for name in names if name.startswith(PREFIX)]
    return folders + ports.named(name for name in names if name not in folders)


def _one(port: str, request: Request, verify_only: bool, as_json: bool) -> None:
    if verify_only:
        _verify(port, request, as_json)
        return
    with progress(f"flashing {port}", quiet=as_json) as tell:
        outcome = flash_board(port, request, lambda what, done, total: tell(done, total, what))
    emit(asdict(outcome), as_json, lambda _: _show(outcome))


def _several(names: list[str], request: Request, verify_only: bool, as_json: bool) -> None:
    """One line of progress for each, a table at the end; a TidegateError if any failed."""
    request.check_for(len(names))
    stop = Stop()
    live = not as_json and not sys.stderr.isatty()  # on a terminal the bars are in the way

    def ended(done: Done) -> None:
        tell(done.port, _in_short(done), 1, 1)
        if live:
            say(f"{done.port}: {_in_short(done)}")

    def work(port: str) -> Any:
        def report(what: str, done: int, total: int) -> None:
            stop.check()
            tell(port, what, done, total)

        stop.check()
        return verify_board(port, request) if verify_only else flash_board(port, request, report)

    with lines(names, quiet=as_json) as tell:
        results = many.each(names, work, ended, stop)
    if not (as_json or live):
        for done in results:
            say(f"{done.port}: {_in_short(done)}")
    bad = [done.port for done in results if done.failed or (verify_only and done.answer)]
    emit({"boards": [_plain(done) for done in results], "failed": len(bad)}, as_json, lambda _: _table(results))
    if bad:
        raise TidegateError(
            f"{len(bad)} of {len(results)} boards {'differ' if verify_only else 'failed'}: {', '.join(bad)}",
            "Correct that and run the command again; what is done already is not done twice",
        )


def _in_short(done: Done) -> str:
    if done.failed:
        return f"{done.error}. {done.remedy}"
    if isinstance(done.answer, list):
        return "; ".join(done.answer) or "no differences"
    return f"done in {done.seconds:.0f} s, {len(done.answer.written)} written, {len(done.answer.kept)} unchanged"


def _plain(done: Done) -> dict[str, Any]:
    answer = asdict(done.answer) if isinstance(done.answer, Outcome) else {"differences": done.answer}
    wrong = {"error": done.error, "remedy": done.remedy}
    return {"port": done.port, "ok": not done.failed, "seconds": done.seconds, **(wrong if done.failed else answer)}


def _table(results: list[Done]) -> None:
    found = []
    for done in results:
        known = done.answer if isinstance(done.answer, Outcome) else None
        boots = known.slots["slots"][known.slots["running"]]["sequence"] if known and known.slots else None
        found.append(
            {
                "port": done.port,
                "id": known.unique_id if known else None,
                "boots": f"sequence {boots}" if boots is not None else None,
                "seconds": done.seconds,
                "result": "failed" if done.failed else "differs" if done.answer and not known else "ok",
            }
        )
    columns = {"port": "port", "id": "id", "boots": "boots", "seconds": "seconds", "result": "result"}
    rows(found, columns, "no boards")


def _show(outcome: Outcome) -> None:
    say(f"{outcome.port}: {outcome.machine}, MicroPython {outcome.micropython}, id {outcome.unique_id}")
    for verb, paths in (("wrote", outcome.written), ("unchanged", outcome.kept), ("removed", outcome.removed)):
        if paths:
            say(f"  {verb}: {' '.join(paths)}")
    slots = outcome.slots or {}
    running: dict[str, Any] = slots["slots"][slots["running"]]
    what = f"sequence {running['sequence']}, {running['size']} bytes"
    say(f"  {slots['kind']} slot {slots['running']} boots: {what}, read back, its {slots['verify']} verified")


def _verify(port: str, request: Request, as_json: bool) -> None:
    differences = verify_board(port, request)
    answer = {"port": port, "differences": differences}
    emit(answer, as_json, lambda _: say("\n".join(f"{port}: {line}" for line in differences or ["no differences"])))
    if differences:
        raise TidegateError(f"{port} differs", "Flash it without --verify-only")
