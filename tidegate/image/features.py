"""Features: parts of the agent that an image may lack, and what is left out with each of them.

A project names the features that its devices use (`features` in [image], docs/image.md); without that key an image
holds everything. With it, the builder follows imports (tidegate/image/imports.py) from the application, and leaves
an import of the agent's alone where the module belongs to features of which none is named.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from tidegate.boards import Board
from tidegate.errors import TidegateError

FEATURES = {
    "mqtt": "an uplink over MQTT",
    "mqtt5": "MQTT 5 for the application's own mqtt.Client; the agent speaks 3.1.1",
    "usb": "the uplink over MQTT goes through the serial port and `tidegate link`",
    "coap": "an uplink over CoAP, and payloads from coap:// addresses",
    "http": "payloads from http:// and https:// addresses",
    "tls": "TLS to the broker and for payloads",
    "commands": "signed commands: info, ping, ops, tasks, time, reboot, config and update",
    "diagnostics": "the opcodes that look into a device: files, logs, memory, network, sensors, uplink, bench",
    "exec": "the opcode that executes Python code",
    "data": "data components and calibration tables",
    "telemetry-ring": "packs are stored on flash while the link is away",
    "identity": "births and answers signed with the board's own key",
    "enrolment": "a board with a claim becomes a device by itself",
}

# Module or package of firmware/lib -> the features of which one must be there. A feature not listed above is the
# board's own: of_board() says which it has.
MODULES = {
    "mqtt": ("mqtt",),
    "mqtt.v5": ("mqtt5",),
    "gate.link.mqtt": ("mqtt",),
    "coap": ("coap",),
    "gate.link.coap": ("coap",),
    "gate.link.fallback": ("mqtt+coap",),
    "gate.link.usb": ("usb",),
    "gate.link.usb_frames": ("usb",),
    "gate.link.usb_socket": ("usb",),
    "gate.link.coap_mac": ("coap", "enrolment"),
    "http_client": ("http", "enrolment"),
    "gate.link.tls": ("tls",),
    "gate.commands.queue": ("commands",),
    "gate.commands.application_opcodes": ("commands",),
    "gate.commands.ops.bench": ("diagnostics",),
    "gate.commands.ops.dns": ("diagnostics",),
    "gate.commands.ops.execute": ("exec",),
    "gate.commands.ops.files": ("diagnostics",),
    "gate.commands.ops.host": ("process",),
    "gate.commands.ops.logs": ("diagnostics",),
    "gate.commands.ops.memory": ("diagnostics",),
    "gate.commands.ops.network": ("diagnostics",),
    "gate.commands.ops.sensors": ("diagnostics",),
    "gate.commands.ops.uplink": ("diagnostics",),
    "gate.update.data_offers": ("data",),
    "gate.telemetry.calibration": ("data",),
    "gate.telemetry.ring_recovery": ("telemetry-ring",),
    "gate.telemetry.no_ring": ("no telemetry-ring",),
    "gate.proof": ("identity", "enrolment"),
    "gate.enrolment": ("enrolment",),
    # Twins in Python of what the board has as machine code. A board that signs needs the arithmetic all the same.
    "ed25519.pure": ("no _ed25519", "identity", "enrolment"),
    "gate.trust.key_tables": ("no _ed25519",),
    "bspatch.viper": ("no _bspatch",),
    "bspatch.plain": ("no _bspatch",),
}

# What an application uses by itself: names that it imports from `gate`, and arguments of gate.Agent.
FOUND = {"calibrator": "data", "data=": "data", "data_component": "data", "opcode": "commands", "command": "commands"}


def check(names: Collection[str]) -> None:
    """TidegateError for a name that is not a feature's."""
    for name in names:
        if name not in FEATURES:
            close = difflib.get_close_matches(name, FEATURES, 1)
            raise TidegateError(
                f"there is no feature {name}",
                f"{f'Did you mean {close[0]}? ' if close else ''}Features: {', '.join(FEATURES)}",
            )
    if names and not {"mqtt", "coap"} & set(names):
        raise TidegateError("the features name no uplink", "Add mqtt, coap or both")
    if names and not {"http", "coap"} & set(names):
        raise TidegateError("the features name no way to fetch payloads", "Add http or coap")


def of_board(board: Board, native: Collection[str]) -> set[str]:
    """The features that `board` has by itself; native: names of the machine code in its images."""
    own = {f"no {name}" for name in ("_ed25519", "_bspatch") if name not in native}
    return own | ({"process"} if "process" in board.modules else set())


def allows(present: Collection[str], used: Collection[str], module: str) -> bool:
    """Whether an image with the features `present` holds this module where the agent imports it. What the application
    imports itself, `used`, is there whole.
    """
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        needs = () if name in used else MODULES.get(name)
        if needs and not any(set(need.split("+")) <= set(present) for need in needs):
            return False
    return True
