"""Keys, server and releases of one installation, driven by the `tidegate` command."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from patience import limit
from ports import free_port

from lab import pico_w, processes
from lab.board import BOARD, LabBoard
from lab.gateway import LabGateway
from lab.mosquitto import Mosquitto
from lab.pico_w import LabPicoW
from lab.processes import BIN, MICROPYTHON, ROOT, LabError
from tidegate.client.server import Server
from tidegate.client.tokens import read_token
from tidegate.dev import mapped_folder, server
from tidegate.errors import TidegateError
from tidegate.flash import flasher, loader_files
from tidegate.sources import EXAMPLE, Sources

HOST_FROM_BOARD = "10.0.2.2"  # how the emulated board reaches this machine's loopback
SERVER_TIMEOUT_S = 30
PRODUCT = "tidegate-gateway"
VENDOR = "tidegate.example"

Show = Callable[[str], None]


class Installation:
    """One installation in `folder`, which must not exist or be empty. Use it as a context manager.

    show: called with every command line that a user could type. broker: "embedded" or "mosquitto". target: the board
    that releases are built for. tls: "" for none, "server" for TLS everywhere, "mutual" for gateways' certificates too.
    uplink: what boards speak with the server, "mqtt", "coap" (they fetch payloads that way, too), "both", or "usb", by
    `tidegate link` on this machine.
    root: the tree whose tools, server and sources are used. It may be an older one, and `root` may be set in between.
    by_line: blank boards get all of an image over their serial line, as in the field; it costs seconds of a processor.
    """

    def __init__(
        self,
        folder: Path,
        show: Show = lambda line: None,
        broker: str = "embedded",
        target: str = "qemu_mps2",
        tls: str = "",
        uplink: str = "mqtt",
        root: Path = ROOT,
        by_line: bool = False,
    ):
        self.folder = folder
        self.root = root
        self.target = target
        self.source = folder / "source"
        self.trust = folder / "trust.cbor"
        self.data = folder / "server"
        self.show = show
        self.tls = tls
        self.uplink = uplink
        self.by_line = by_line
        self.certificates = folder / "tls"
        secret = self.certificates if tls else None
        self.mosquitto = Mosquitto(folder / "mosquitto", secret) if broker == "mosquitto" else None
        self.boards: list[LabBoard | LabGateway | LabPicoW] = []
        self.url = ""
        self.mqtt_port = 0
        self._http_port = free_port()
        self._coap_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._api: Server | None = None

    def __enter__(self) -> Installation:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for board in self.boards:
            board.power_off()
        self.stop_server()
        if self.mosquitto:
            self.mosquitto.stop()

    # -------------------------------------------------------------- commands

    def tidegate(self, *words: str | Path, code: int = 0) -> str:
        """Run `tidegate ...` to its end; what it printed. Another exit code than `code` is a LabError."""
        done = self.run(*words)
        if done.returncode != code:
            raise LabError(
                f"`tidegate {' '.join(map(str, words))}` ended with {done.returncode} instead of {code}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `tidegate ...`, or a script of tools/ when the first word ends in .py."""
        script = str(words[0]).endswith(".py")
        self.show(" ".join([*([] if script else ["tidegate"]), *map(self._short, words)]))
        program = [BIN / "python", self.root / words[0]] if script else [*self._program(), words[0]]
        command = [str(word) for word in [*program, *words[1:]]]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment)

    def _program(self) -> list[str | Path]:
        """The words that start `tidegate` of the tree in use; -P keeps the folder we are in off its path."""
        if self.root == ROOT:
            return [BIN / "tidegate"]
        return [BIN / "python", "-P", "-c", "from tidegate.cli import main; main(prog_name='tidegate')"]

    @property
    def _path(self) -> dict[str, str]:
        return {} if self.root == ROOT else {"PYTHONPATH": str(self.root)}

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._path,
            "TIDEGATE_SERVER": self.url,
            "TIDEGATE_TOKEN_FILE": str(self.data / "admin.token"),
            **({"TIDEGATE_CA": str(self.certificates / "ca.crt")} if self.tls else {}),
            "TIDEGATE_UNIX_MICROPYTHON": str(MICROPYTHON),
        }

    def _short(self, word: str | Path) -> str:
        """A path as a user in the project's folder would write it."""
        text = str(word)
        return shlex.quote(os.path.relpath(text, ROOT) if text.startswith(str(ROOT)) else text)

    # -------------------------------------------------------------- keys and server

    def make_keys(self) -> None:
        keys = self.folder / "keys"
        keys.mkdir(exist_ok=True)
        for role in ("release", "command", "root"):
            self.tidegate("key", "new", "--role", role, "--out", self.key(role))
        self.tidegate("trust", "new", "--out", self.trust, *(self.key(role) for role in ("release", "command", "root")))

    def key(self, role: str) -> Path:
        return self.folder / "keys" / f"{role}.jwk"

    def make_certificates(self) -> None:
        """An authority, and a certificate of the server for both names that it is reached by."""
        self.tidegate("tls", "authority", "--dir", self.certificates)
        self.tidegate("tls", "server", "--dir", self.certificates, HOST_FROM_BOARD, "127.0.0.1")

    def start_server(self) -> None:
        """Start broker and server, and wait until both answer."""
        words: list[str | Path] = ["serve", "--data", self.data, "--http", f"127.0.0.1:{self._http_port}"]
        words += ["--trust", self.trust]
        if self.tls:
            if not self.certificates.exists():
                self.make_certificates()
            words += ["--tls-cert", self.certificates / "server.crt", "--tls-key", self.certificates / "server.key"]
            words += ["--tls-client-ca", self.certificates / "ca.crt"] if self.tls == "mutual" else []
        if self.mosquitto:
            if not self.mosquitto.folder.exists():
                self.tidegate("mosquitto", "--data", self.data, self.mosquitto.folder)
                self.mosquitto.start()
            self.mqtt_port = self.mosquitto.port
            words += ["--broker", f"mqtt{'s' * bool(self.tls)}://tidegate_server@127.0.0.1:{self.mqtt_port}"]
            words += ["--broker-ca", self.certificates / "ca.crt"] if self.tls else []
            words += ["--mosquitto", self.mosquitto.folder]
        else:
            self.mqtt_port = self.mqtt_port or free_port()
            words += ["--mqtt", f"127.0.0.1:{self.mqtt_port}"]
        if self.uplink in ("coap", "both"):
            words += ["--coap", f"127.0.0.1:{self._coap_port}"]
        self.show("tidegate " + " ".join(self._short(word) for word in words) + " &")
        try:
            self._process, addresses = server.start_serving(
                self._program(), words[1:], self.data, self.folder / "server.log", limit(SERVER_TIMEOUT_S), self._path
            )
        except TidegateError as error:
            raise LabError(error.message) from error
        self.url = addresses["http"]
        ca = self.certificates / "ca.crt" if self.tls else None
        self._api = Server(self.url, read_token(self.data / "admin.token"), ca)

    def stop_server(self) -> None:
        processes.stop(self._process)
        self._process = None

    @property
    def api(self) -> Server:
        if self._api is None:
            raise LabError("the server was not started")
        return self._api

    # -------------------------------------------------------------- releases

    def copy_source(self) -> None:
        """The user's own copy of firmware/, boards/ and the example, to change the application in. Its images hold
        everything where the uplink is not the one that the example declares.
        """
        for part in ("firmware", "boards", "examples"):
            if (self.root / part).is_dir():  # an older Tidegate has its example in firmware/
                ignored = shutil.ignore_patterns("__pycache__", ".tidegate")
                shutil.copytree(self.root / part, self.source / part, dirs_exist_ok=True, ignore=ignored)
        if self.uplink != "mqtt":
            self.declare_image(None)
        # Machine code that `make setup` built: images carry it where board.toml says so.
        native = self.root / "build" / "native"
        if native.exists():
            ignored = shutil.ignore_patterns("objects", ".mpy_ld_cache")
            shutil.copytree(native, self.source / "build" / "native", dirs_exist_ok=True, ignore=ignored)

    def put_application(self, text: str) -> None:
        """Replace the application in the copy of the sources by one of a single module."""
        app = self.application
        shutil.rmtree(app)
        app.mkdir()
        (app / "__init__.py").write_text(text)

    @property
    def application(self) -> Path:
        """The application's folder in the copy of the sources."""
        return Sources.checkout(self.source).app

    def declare_image(self, table: str | None) -> None:
        """Say what images from the copy of the sources hold: a table [image], or None for everything."""
        (self.source / EXAMPLE / "tidegate.toml").unlink(missing_ok=True)
        if table:
            (self.source / EXAMPLE / "tidegate.toml").write_text(table)

    def leave_out(self, frozen: Path) -> None:
        """Images from the copy of the sources leave out what a firmware holds: its frozen.json."""
        shutil.copyfile(frozen, self.source / EXAMPLE / "frozen.json")
        path = self.source / EXAMPLE / "tidegate.toml"
        path.write_text(path.read_text().replace("[image]", '[image]\nfrozen = ["frozen.json"] #', 1))

    def change(self, patch: Path) -> None:
        """Apply a unified diff to the copy of the sources."""
        done = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(patch)],
            cwd=self.source,
            capture_output=True,
            text=True,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder)},
        )
        if done.returncode:
            raise LabError(f"{patch.name} does not apply: {done.stderr}")

    def build(self, version: str, sequence: int, previous: str | Sequence[str] = ()) -> Path:
        out = self.release(version)
        words: list[str | Path] = ["release", "build", "--board", self.target, "--version", version]
        words += ["--sequence", str(sequence), "--source", self.source, "--out", out]
        for earlier in [previous] if isinstance(previous, str) else previous:
            words += ["--previous", self.release(earlier)]
        self.tidegate(*words)
        self.tidegate("tools/sign_release.py", out, "--key", self.key("release"))
        return out

    def publish(self, version: str) -> None:
        self.tidegate("release", "publish", self.release(version), "--trust", self.trust, "--yes")

    def release(self, version: str) -> Path:
        return self.folder / "releases" / version

    def index(self, version: str) -> dict[str, Any]:
        """What release.json says of our board."""
        return json.loads((self.release(version) / "release.json").read_text())["targets"][self.target]

    # -------------------------------------------------------------- boards

    def add_board(
        self, device: str, mac: str = "02:00:00:74:69:01", period_s: int = 2, firmware: Path | None = None
    ) -> LabBoard:
        """Register a device, write its settings, and power on a board with blank storage for it.

        firmware: another MicroPython than the board's usual one.
        """
        # Through a serial port it is this machine that connects.
        self._add_device(device, "127.0.0.1" if self.uplink == "usb" else HOST_FROM_BOARD, period_s)
        board = LabBoard(self.folder / f"{device}.flash", mac, firmware)
        self.boards.append(board)
        board.power_on()
        return board

    def add_pico_w(self, device: str, period_s: int = 2, firmware: Path | None = None) -> LabPicoW:
        """Register a device, write its settings, and power on a Raspberry Pi Pico W for it. firmware: another UF2."""
        self._add_device(device, HOST_FROM_BOARD, period_s, network=pico_w.NETWORK)
        board = pico_w.LabPicoW(self.folder / device, firmware=firmware)
        self.boards.append(board)
        board.power_on()
        return board

    def add_pico(self, device: str, firmware: Path, period_s: int = 2) -> LabPicoW:
        """The same for a Raspberry Pi Pico, whose only way out is its serial port."""
        self._add_device(device, "127.0.0.1", period_s)
        board = LabPicoW(self.folder / device, "pico", firmware)
        self.boards.append(board)
        board.power_on()
        return board

    def add_gateway(self, device: str, period_s: int = 2) -> LabGateway:
        """Register a device, write its settings, and name a folder for it, which is still empty."""
        self._add_device(device, "127.0.0.1", period_s)
        gateway = LabGateway(self.folder / device)
        self.boards.append(gateway)
        return gateway

    def _add_device(self, device: str, host: str, period_s: int, **settings: Any) -> None:
        credentials = self.folder / f"{device}.credentials.json"
        self.tidegate("device", "add", device, "--board", self.target, "--out", credentials)
        config = {
            "device": device,
            "product": PRODUCT,
            "vendor": VENDOR,
            "board": self.target,
            "mqtt": {"host": host, "port": self.mqtt_port, **({"tls": True} if self.tls else {})},
            "payloads": f"http{'s' * bool(self.tls)}://{host}:{self._http_port}/",
            "telemetry_period_s": period_s,
            **settings,
        }
        config["uplink"] = self.uplink
        if self.uplink in ("coap", "both"):
            config["coap"] = {"host": host, "port": self._coap_port}
        if self.uplink == "coap":
            del config["mqtt"]
            config["payloads"] = f"coap://{host}:{self._coap_port}/"
        (self.folder / f"{device}.config.json").write_text(json.dumps(config, indent=2) + "\n")
        if self.tls == "mutual":
            self.tidegate("tls", "device", "--dir", self.certificates, device)

    def flash(self, board: LabBoard | LabGateway | LabPicoW, device: str, version: str, *options: str | Path) -> str:
        """Flash everything over the board's serial port, or into the gateway's folder; what the command printed."""
        if self.tls:
            options += ("--ca", self.certificates / "ca.crt")
        if self.tls == "mutual":
            options += ("--client-cert", self.certificates / f"{device}.crt")
            options += ("--client-key", self.certificates / f"{device}.key")
        self._deliver(board, version, "signature" in options)
        with board.serial_port_free() as port:
            program = ("tools/lab/patient.py", "flash") if isinstance(board, LabPicoW) else ("tools/flash.py",)
            return self.tidegate(
                *program, port, "--board", self.target, "--source", self.source,
                "--release", self.release(version), "--trust", self.trust,
                "--config", self.folder / f"{device}.config.json",
                "--credentials", self.folder / f"{device}.credentials.json", *options,
            )  # fmt: skip

    def flash_claimed(self, board: LabBoard, claim: Path, version: str) -> str:
        """As docs/enrolment.md says: settings without a name, no credentials; what the command printed."""
        config = self.folder / "fleet.config.json"
        settings = {
            "product": PRODUCT,
            "vendor": VENDOR,
            "board": self.target,
            "mqtt": {"host": HOST_FROM_BOARD, "port": self.mqtt_port},
            "payloads": f"http://{HOST_FROM_BOARD}:{self._http_port}/",
            "telemetry_period_s": 5,
        }
        config.write_text(json.dumps(settings))
        self._deliver(board, version)
        with board.serial_port_free() as port:
            return self.tidegate(
                "flash", port, "--board", self.target, "--source", self.source, "--release", self.release(version),
                "--config", config, "--claim", claim,
            )  # fmt: skip

    def _deliver(self, board: LabBoard | LabGateway | LabPicoW, version: str, signature: bool = False) -> None:
        """Give a blank emulated board what is large; flashing does the rest, and checks it. tests/board sends all."""
        if self.by_line or not isinstance(board, LabBoard) or not board.blank:
            return
        image = (self.release(version) / "p" / self.index(version)["image"]["digest"]).read_bytes()
        if self.root == ROOT:
            loader = loader_files.loader(Sources.checkout(self.source).library, BOARD, signature)
            board.deliver(mapped_folder.staged(image, loader, BOARD))
        else:  # another tree's loader may be made in another way
            board.deliver({flasher.STAGED: image})

    def wait(self, what: str, check: Callable[[], Any], timeout_s: float) -> Any:
        """Poll until `check` returns something true; a LabError says that `what` did not come."""
        deadline = time.monotonic() + limit(timeout_s)
        while not (found := check()):
            if time.monotonic() > deadline:
                raise LabError(f"{what} did not come within {limit(timeout_s):.0f} s")
            time.sleep(0.2)
        return found

    # -------------------------------------------------------------- what the server knows of a device

    def wait_running(self, device: str, version: str, timeout_s: float) -> dict[str, Any]:
        """Wait until the server says that the device is online with `version`, and not on trial."""

        def check() -> dict[str, Any] | None:
            shown = self.api.device(device)
            return shown if shown["online"] and shown["version"] == version and not shown["trial"] else None

        return self.wait(f"{device} with {version}", check, timeout_s)

    def reports(self, device: str, after: int = 0) -> list[dict[str, Any]]:
        """The device's reports with an id above `after`, oldest first."""
        newest_first = self.api.records(device, "reports", 200)["reports"]
        return [report for report in reversed(newest_first) if report["id"] > after]

    def last_report(self, device: str) -> int:
        """The id of the device's newest report, 0 without one."""
        return max((report["id"] for report in self.reports(device)), default=0)

    def wait_report(self, device: str, phase: str, after: int, timeout_s: float) -> dict[str, Any]:
        """The first report of this phase with an id above `after`."""

        def check() -> dict[str, Any] | None:
            return next((report for report in self.reports(device, after) if report["phase"] == phase), None)

        return self.wait(f"a report {phase!r} of {device}", check, timeout_s)
