#!/usr/bin/env python3
"""The whole path of an update, on an emulated Cortex-M3 board: `make demo`.

Every step runs the commands that a user would type, and checks the result. Exit code 0 only if every step held.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import Installation, LabBoard, attacker
from lab.processes import ROOT, LabError

from tidegate.commands import cwt
from tidegate.trust import keys

DEVICE = "gate-1"
CHANGES = ROOT / "tools" / "demo_releases"
STEPS = 8
BOOT_TIMEOUT_S = 60
UPDATE_TIMEOUT_S = 120


class Story:
    """Prints steps, commands and findings as plain lines."""

    def __init__(self) -> None:
        self._step = 0
        self._started = time.monotonic()

    def step(self, title: str) -> None:
        self._step += 1
        print(f"\n[{self._step}/{STEPS}] {title}   ({self.seconds:.0f} s)", flush=True)

    def command(self, line: str) -> None:
        print(f"    $ {line}", flush=True)

    def say(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            print(f"    {line}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    story = Story()
    with _empty(options.folder):
        try:
            return _run(options, story)
        except LabError as error:
            print(f"\ndemo: {error}\ndemo: the server's log is {options.folder}/server.log", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ndemo: stopped")
            return 130


def _run(options: argparse.Namespace, story: Story) -> int:
    with Installation(options.folder, story.command, options.broker, by_line=True) as lab:
        board = tell(story, lab)
        story.step("The status page")
        address = _status_page(lab)
        story.say(f"Every step held, in {story.seconds:.0f} s.")
        story.say(f"Status page:  {address}")
        if not options.exit:
            story.say(f"Board's console:  mpremote connect {board.pty}      Stop everything:  Ctrl-C")
            _wait_for_ctrl_c()
    return 0


def tell(story: Story, lab: Installation) -> LabBoard:
    """Steps 1 to 7; returns the board."""
    story.step("Keys on your machine, a server with its own broker and database")
    lab.make_keys()
    lab.start_server()
    story.say(f"server {lab.url}, broker 127.0.0.1:{lab.mqtt_port} ({'mosquitto' if lab.mosquitto else 'inside'})")

    story.step("Release 1.0.0, signed where the key is")
    lab.copy_source()
    lab.build("1.0.0", 1)
    image = lab.index("1.0.0")["image"]
    story.say(f"image of {image['size']} bytes, SHA-256 {image['digest'][:16]}…")

    story.step("An emulated Cortex-M3 with blank storage, flashed over its serial port")
    board = lab.add_board(DEVICE)
    story.say(lab.flash(board, DEVICE, "1.0.0"))
    lab.publish("1.0.0")

    story.step("It boots, connects, and sends telemetry")
    born = lab.wait_running(DEVICE, "1.0.0", BOOT_TIMEOUT_S)
    story.say(f"{born['id']} runs {born['version']} over {born['protocol']}, last seen {born['last_seen']}")
    telemetry = lab.wait("telemetry", lambda: lab.api.device(DEVICE)["telemetry"], 30)
    story.say(
        "telemetry: " + ", ".join(f"{name} {entry['value']} {entry['unit'] or ''}" for name, entry in telemetry.items())
    )

    story.step("1.1.0 changes the application; the board takes the patch, tries it, keeps it")
    lab.change(CHANGES / "1.1.0.diff")
    lab.build("1.1.0", 2, previous="1.0.0")
    _show_sizes(story, lab, "1.1.0")
    with _reports(story, lab) as seen:
        lab.publish("1.1.0")
        seen.until("confirmed", 2)
    _took_the_patch(story, lab)
    lab.wait_running(DEVICE, "1.1.0", BOOT_TIMEOUT_S)
    humidity = lab.wait("the new measurement", lambda: lab.api.device(DEVICE)["telemetry"].get("humidity"), 30)
    story.say(f"confirmed; the new measurement arrives: humidity {humidity['value']} {humidity['unit']}")

    story.step("1.2.0 hangs after it boots; the watchdog brings 1.1.0 back")
    lab.change(CHANGES / "1.2.0.diff")
    lab.build("1.2.0", 3, previous="1.1.0")
    mark = len(board.lines)
    with _reports(story, lab) as seen:
        lab.publish("1.2.0")
        why = seen.until("rolled-back", 3)
    shown = lab.wait_running(DEVICE, "1.1.0", BOOT_TIMEOUT_S)
    _show_console(story, board, mark)
    story.say(f"rolled back: {why.get('detail')}; the server shows {shown['version']}, offer {shown['offer']['state']}")
    if shown["offer"]["state"] != "failed":
        raise LabError(f"the server shows the offer of 1.2.0 as {shown['offer']['state']}, not as failed")

    story.step("A signed command, a forged one, and a replayed one")
    story.say(lab.tidegate("cmd", "send", DEVICE, "info", "--key", lab.key("command")))
    _attack(story, lab)
    return board


# ------------------------------------------------------------------ the checks of the steps


def _show_sizes(story: Story, lab: Installation, version: str) -> None:
    target = lab.index(version)
    image, patch = target["image"]["size"], target["patches"][0]["size"]
    story.say(f"image {image} bytes, patch {patch} bytes: {100 * patch / image:.1f} % of the image")


def _took_the_patch(story: Story, lab: Installation) -> None:
    """Check by the board's own report that it chose the patch."""
    applied = [report for report in lab.reports(DEVICE) if report["sequence"] == 2 and report["phase"] == "applying"]
    if [report.get("detail") for report in applied] != ["patch"]:
        raise LabError(f"the board did not apply the patch: {applied}")
    story.say("the board took the patch, not the image")


class _Follower:
    """Prints the device's reports as they come."""

    def __init__(self, story: Story, lab: Installation) -> None:
        self._story = story
        self._lab = lab
        self._shown = {(report["id"], report["phase"]) for report in lab.reports(DEVICE)}

    def until(self, phase: str, sequence: int) -> dict[str, Any]:
        """The report that `sequence` reached `phase`; a LabError if it ended otherwise."""

        def check() -> dict[str, Any] | None:
            for report in self._lab.reports(DEVICE):
                key = (report["id"], report["phase"])
                if key in self._shown:
                    continue
                self._shown.add(key)
                self._story.say(f"{DEVICE}: {_line(report)}")
                if report["sequence"] == sequence and report["phase"] == phase:
                    return report
                if report["sequence"] == sequence and report["phase"] in ("refused", "failed", "rolled-back"):
                    raise LabError(f"{DEVICE} reports {report['phase']}: {report.get('detail')}")
            return None

        return self._lab.wait(f"the report {phase}", check, UPDATE_TIMEOUT_S)


def _line(report: dict[str, Any]) -> str:
    """A report in words: phase, sequence, LwM2M state and result, progress and detail."""
    lwm2m = report["lwm2m"]
    more = [f"sequence {report['sequence']}", f"state {lwm2m['state']}, result {lwm2m['result']}"]
    if progress := report.get("progress"):
        more.append(f"{progress['done']} of {progress['total']} bytes")
    if detail := report.get("detail"):
        more.append(detail)
    return f"{report['phase']:<11} {'; '.join(more)}"


@contextlib.contextmanager
def _reports(story: Story, lab: Installation) -> Iterator[_Follower]:
    yield _Follower(story, lab)


def _show_console(story: Story, board: LabBoard, since: int) -> None:
    for line in board.lines[since:]:
        if line.startswith("tidegate: ") and ("trial" in line or "rolled back" in line):
            story.say(f"console: {line}")


def _attack(story: Story, lab: Installation) -> None:
    """With the broker's password but without the command key: forge a command, and repeat a real one."""
    device = lab.api.device(DEVICE)
    now = int(time.time())

    def signed_by(key: keys.Key, cti: bytes) -> bytes:
        nonce = bytes.fromhex(device["nonce"])
        return cwt.make(key, cwt.Command(DEVICE, "reboot", {}, cti, now, now + 60, nonce))

    forger = keys.new("command")
    story.say("somebody with the broker's password publishes a command signed with another key …")
    attacker.publish(lab, f"tg/{DEVICE}/down/cmd", signed_by(forger, cwt.next_counter(lab.key("command"))))
    _alarm(story, lab, "command-refused", "unknown-key")

    story.say("… and repeats a command that was carried out before")
    key = keys.load(lab.key("command"))
    request = cwt.Command(
        DEVICE, "info", {}, cwt.next_counter(lab.key("command")), now, now + 60, bytes.fromhex(device["nonce"])
    )
    message = cwt.make(key, request)
    lab.api.send_command(DEVICE, message)
    lab.wait("the answer", lambda: lab.api.command(request.cti.hex())["outcome"] == "done", 30)
    attacker.publish(lab, f"tg/{DEVICE}/down/cmd", message)
    _alarm(story, lab, "command-refused", "replay")


def _alarm(story: Story, lab: Installation, kind: str, reason: str) -> None:
    def check() -> dict[str, Any] | None:
        alarms = lab.api.alarms.listed(50)["alarms"]
        return next((alarm for alarm in alarms if (alarm["kind"], alarm["reason"]) == (kind, reason)), None)

    alarm = lab.wait(f"the alarm {kind} ({reason})", check, 30)
    story.say(f"alarm at the server: {alarm['device']}: {alarm['kind']}: {alarm['reason']}: {alarm['detail']}")


def _status_page(lab: Installation) -> str:
    """Its address, with a token that may only read."""
    file = lab.folder / "status.token"
    lab.tidegate("token", "new", "--data", lab.data, "--scope", "read", "--name", "status page", "--out", file)
    return f"{lab.url}/#token={file.read_text().strip()}"


# ------------------------------------------------------------------ running it


def _wait_for_ctrl_c() -> None:
    while True:
        time.sleep(3600)


@contextlib.contextmanager
def _empty(folder: Path) -> Iterator[None]:
    """The demo's folder, emptied, and ours alone while it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield
    except BlockingIOError:
        raise SystemExit("demo: it is running already in another terminal") from None
    finally:
        os.close(lock)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Examples: make demo   make demo ARGS=--exit   make demo ARGS='--exit --broker mosquitto'",
    )
    parser.add_argument("--exit", action="store_true", help="end by itself; exit code 0 only if every step held")
    parser.add_argument("--broker", choices=("embedded", "mosquitto"), default="embedded")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where everything lives; emptied first")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    if options.folder.exists() and not (options.folder / "keys").is_dir() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not a demo folder; name another --folder")
    return options


if __name__ == "__main__":
    sys.exit(main())
