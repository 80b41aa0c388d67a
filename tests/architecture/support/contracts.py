"""Who may know whom, room by room: docs/architecture.md as something that can be checked.

A module that lies directly in a package is a room of its own. Rooms stand on floors, the ground first. A room may
import from the floors below it, not from above, and not from its neighbours on the same floor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from import_graph import Graph, against, circles, graph, modules, outside

ROOT = Path(__file__).resolve().parents[3]
Files = dict[str, Path]

SERVER_PACKAGES = frozenset({"ota_server", "flask", "werkzeug", "waitress", "sqlalchemy", "alembic"})
DEVICE_PACKAGES = frozenset({"gate", "boot", "app"})


@dataclass(frozen=True)
class Contract:
    """What holds for one part of the tree.

    files: reads its modules. floors: its rooms from the ground up; none means that only `never` and circles count.
    never: top-level names that it may not import. allowed: {module: top-level names} that are excepted from `never`.
    """

    name: str
    files: Callable[[], Files]
    room: Callable[[str], str] = lambda module: module
    floors: tuple[tuple[str, ...], ...] = ()
    never: frozenset[str] = frozenset()
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def broken(self, files: Files | None = None) -> list[str]:
        """A sentence for each place where the contract does not hold; [] where all is well."""
        files = self.files() if files is None else files
        found = graph(files)
        said = ["a circle: " + ", ".join(group) for group in circles(found)]
        if self.floors:
            said += [f"{arrow}, which is not below it" for arrow in against(found, self.floors, self.room)]
        for module, names in outside(files).items():
            foreign = names & self.never - self.allowed.get(module, frozenset())
            said += [f"{module} imports {name}, which it must not know" for name in sorted(foreign)]
        return said


def python(folder: str, prefix: str = "") -> Callable[[], Files]:
    return lambda: modules(ROOT / folder, prefix)


def top_room(module: str) -> str:
    """tidegate.wire.cbor is in wire, tidegate.errors is the room errors, and tidegate itself is tidegate."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package


def gate_room(module: str) -> str:
    """As top_room, but what lies in gate/ itself is "root", but for what composes or runs an agent; ops is a room."""
    parts = module.split(".")
    if parts[:3] == ["gate", "commands", "ops"]:
        return "ops"
    is_folder = len(parts) > 1 and (ROOT / "firmware/lib/gate" / parts[1]).is_dir()
    return parts[1] if is_folder or parts[1:] in (["compose"], ["bare"], ["agent"], ["application"]) else "root"


def libraries() -> Files:
    return {name: path for name, path in modules(ROOT / "firmware/lib").items() if name.partition(".")[0] != "gate"}


def server_rules() -> Files:
    """The server's modules below its presentation."""
    floors = SERVER.floors[: next(at for at, names in enumerate(SERVER.floors) if "api" in names)]
    rules = {room for names in floors for room in names}
    return {name: path for name, path in SERVER.files().items() if top_room(name) in rules}


def board(name: str) -> Callable[[], Files]:
    """The loader as it is flashed for a board: with its board.py, and what boards/common has for it."""
    return lambda: {
        **modules(ROOT / "firmware/boot", "boot"),
        **{f"boot.{module}": path for module, path in modules(ROOT / "boards/common").items()},
        "boot.board": ROOT / "boards" / name / "board.py",
    }


def tools() -> Files:
    return modules(ROOT / "tools")


HOST = Contract(
    "host",
    python("tidegate", "tidegate"),
    top_room,
    (
        ("tidegate", "errors", "interrupts", "json_text", "toml_tables", "visible"),
        ("files", "library", "names"),
        ("user_folder",),
        ("audit_chain", "rollout"),
        ("wire", "boards", "delta", "client"),
        ("sources",),
        ("libraries",),
        ("trust", "image"),
        ("manifest", "commands", "enrolment", "registration"),
        ("release",),
        ("flash", "fleet", "project", "doctor", "pages", "reference", "simulate"),
        ("dev", "link"),
        ("cli",),
        ("__main__",),
    ),
    SERVER_PACKAGES | DEVICE_PACKAGES,
)
SERVER = Contract(
    "server",
    python("ota_server", "ota_server"),
    top_room,
    (
        (
            "address",
            "config",
            "errors",
            "log_lines",
            "loop_thread",
            "meters",
            "peer_key",
            "roles",
            "service_manager",
            "tls_context",
            "token_bucket",
        ),
        ("data_folder", "repeated", "tls_listener"),
        ("store", "broker", "http"),
        ("security",),
        ("releases",),
        ("fleet", "commands", "backup", "webhooks"),
        ("uplink",),
        ("mqtt", "coap"),
        ("api",),
        ("web",),
        ("application", "first_start"),
        ("run",),
        ("cli",),
    ),
    DEVICE_PACKAGES,
)
RULES = Contract("server rules", server_rules, never=frozenset({"flask", "werkzeug"}))
GATE = Contract(
    "agent",
    python("firmware/lib/gate", "gate"),
    gate_room,
    (
        ("root",),
        ("link", "reporting"),
        ("telemetry", "trust"),
        ("update", "commands", "settings"),
        ("ops", "enrolment"),
        ("compose", "bare"),
        ("agent",),
        ("application",),
    ),
    frozenset({"boot", "app", "tidegate"}),
    {"gate.commands.ops.updates": frozenset({"boot"})},  # to go back to the other slot is the loader's business
)
LIBRARIES = Contract("libraries", libraries, never=DEVICE_PACKAGES | {"tidegate"})
LOADER = Contract(
    "loader",
    python("firmware/boot", "boot"),
    never=frozenset({"gate", "app", "tidegate"} | {name.partition(".")[0] for name in libraries()}),
    allowed={
        "boot.signature": frozenset({"gate"}),  # a copy that was flashed beside it: decision 11
        "boot.loader": frozenset({"app", "gate"}),  # what it is there to start: decision 105 for the second
    },
)
DEVICE = Contract(
    "device",
    lambda: {
        **modules(ROOT / "firmware/lib"),
        **modules(ROOT / "firmware/boot", "boot"),
        **modules(ROOT / "examples/vehicle-gateway/app", "app"),
    },
    never=frozenset({"tidegate", "ota_server"}),
)
TOOLS = Contract("tools", tools, never=DEVICE_PACKAGES)
BOARDS = tuple(
    Contract(
        f"board {path.parent.name}",
        board(path.parent.name),
        never=LOADER.never,
        allowed=LOADER.allowed,
    )
    for path in sorted((ROOT / "boards").glob("*/board.py"))
)
CONTRACTS = (HOST, SERVER, RULES, GATE, LIBRARIES, LOADER, DEVICE, TOOLS, *BOARDS)


# ---------------------------------------------------------------- the C port

_DEFINITION = re.compile(r"^(?!static\b)[A-Za-z_][\w \t*]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def c_graph(folder: Path) -> Graph:
    """Which C files of a folder call functions of which others; what a file defines itself is not another's."""
    texts = {path.stem: _COMMENT.sub(" ", path.read_text()) for path in sorted(folder.glob("*.c"))}
    defined = {name: {match[1] for match in _DEFINITION.finditer(text)} for name, text in texts.items()}
    words = {name: set(re.findall(r"\b\w+\b", text)) for name, text in texts.items()}
    return {
        name: {other for other, functions in defined.items() if other != name and functions & words[name]}
        for name in texts
    }
