"""What packaging/ has for operators: units that systemd takes and finds tight, a container's files that can be read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import programs
import pytest
import yaml
from patience import limit

from tidegate.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = sorted((ROOT / "packaging/systemd").glob("*.*"))
PAGES = {"tidegate-gateway": "docs/linux-gateway.md"}


@pytest.mark.built
@pytest.mark.parametrize("name", ["tidegate", "tidegate-backup", "tidegate-gateway"])
def test_units_are_as_tight_as_the_page_says(name: str) -> None:
    unit = ROOT / f"packaging/systemd/{name}.service"
    command = [programs.require("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stdout
    level = re.search(r"exposure level for \S+: (\d+\.\d)", done.stdout)
    page = (ROOT / PAGES.get(name, "docs/operate.md")).read_text()
    assert level and level[1] in page, done.stdout


@pytest.mark.built
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """In a root of their own, where what they start is there."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in UNITS:
        if path.suffix in (".service", ".timer"):
            text = re.sub(r"(?<=Exec)Start=\S+", "Start=/bin/true", path.read_text())
            (units / path.name).write_text(text)
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/true", tmp_path / "bin/true")
    names = [path.name.replace("@.", "@x.") for path in sorted(units.iterdir())]
    command = [programs.require("systemd-analyze"), "verify", f"--root={tmp_path}", "--man=no", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    ours = [line for line in done.stderr.splitlines() if "tidegate" in line and "Unit" not in line]
    assert ours == [], done.stderr


def test_what_units_start_exists() -> None:
    """Each `tidegate` that a unit starts is a command with these options."""
    found = [
        words.split()
        for path in UNITS
        for words in re.findall(r"^ExecStart=/opt/tidegate/bin/tidegate ([^\n]+)", path.read_text(), re.MULTILINE)
    ]
    assert len(found) == 4
    for words in found:
        command: click.Command = main
        while isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), words.pop(0))
            assert inner is not None
            command = inner
        options = {name for param in command.params for name in param.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_the_containers_files() -> None:
    compose = yaml.safe_load((ROOT / "packaging/container/compose.yaml").read_text())
    service = compose["services"]["tidegate"]
    assert (ROOT / "packaging/container" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert set(compose["volumes"]) == {
        one.partition(":")[0] for name in compose["services"] for one in compose["services"][name]["volumes"]
    }
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "nothing is open without TLS"
    text = (ROOT / "packaging/container/Containerfile").read_text().replace("\\\n", " ")
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    steps = [line.split()[0] for line in text.splitlines() if line and line[0] not in "# "]
    assert set(steps) == known and steps.index("USER") < steps.index("ENTRYPOINT")
    assert re.search(r"^\s+\[.*readyz", text, re.MULTILINE) or "readyz" in text


def test_the_alert_says_it_somewhere(tmp_path: Path) -> None:
    """With a `mail` of ours on PATH; its exit code is the script's."""
    mail = tmp_path / "mail"
    mail.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said; cat >> {tmp_path}/said; exit ${{CODE:-0}}\n')
    mail.chmod(0o755)
    script = ["sh", str(ROOT / "packaging/systemd/alert"), "tidegate.service failed"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(script, input="why\n", text=True, check=True, env=environment)
    said = (tmp_path / "said").read_text()
    assert "tidegate.service failed" in said and said.endswith("root\nwhy\n")
    assert subprocess.run(script, input="", text=True, env={**environment, "CODE": "3"}).returncode == 3
