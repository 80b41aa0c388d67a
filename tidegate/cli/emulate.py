"""`tidegate emulate`: run the emulated board until Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from tidegate.boards.emulator import CPU_VARIABLE, DEFAULT_MAC, Emulator
from tidegate.boards.schema import CPUS
from tidegate.cli._common import FILE, complain, emit, json_option, say
from tidegate.errors import TidegateError


@click.command(
    epilog="""\b
Examples:
  tidegate emulate --storage board.flash
  tidegate emulate --storage m7.flash --cpu m7
  tidegate emulate --storage second.flash --mac 02:00:00:00:00:02 --hostfwd udp:127.0.0.1:5683-:5683
Then, in another terminal, with the port it printed:
  mpremote connect /dev/pts/5 repl"""
)
@click.option(
    "--storage",
    type=FILE,
    required=True,
    help="The board's flash; made if absent.",
)
@click.option("--mac", default=DEFAULT_MAC, show_default=True, help="MAC address and unique id of the board.")
@click.option(
    "--cpu",
    type=click.Choice(list(CPUS)),
    default="m3",
    show_default=True,
    envvar=CPU_VARIABLE,
    help=f"{', '.join(CPUS.values())}; what {CPU_VARIABLE} names, else the M3.",
)
@click.option("--hostfwd", multiple=True, metavar="PROTO:ADDR:PORT-:PORT", help="Forward a port of this machine.")
@click.option("--firmware", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another firmware ELF.")
@click.option("--icount", is_flag=True, help="Count instructions: 32 ns of board time each, for measuring.")
@json_option
def emulate(
    storage: Path, mac: str, cpu: str, hostfwd: tuple[str, ...], firmware: Path | None, icount: bool, as_json: bool
) -> None:
    """Run the emulated board and print its serial port.

    It runs until Ctrl-C. What it stored stays in the storage file; starting it again is a power cycle. The board
    reaches this machine at 10.0.2.2.
    """
    emulator = Emulator(storage, mac=mac, cpu=cpu, hostfwd=hostfwd, firmware=firmware, count_instructions=icount)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end, as with Ctrl-C
    try:
        with emulator:
            emit({"port": emulator.pty}, as_json, lambda found: say(found["port"]))
            code = emulator.wait()
            if code:
                raise TidegateError(f"QEMU ended with code {code}: {emulator.output()}", "See what it says")
    except KeyboardInterrupt:
        complain("stopped")
