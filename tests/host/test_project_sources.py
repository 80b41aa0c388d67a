"""Which sources a command builds from: those of the project around it, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from projects import ROOT

from tidegate import project
from tidegate.errors import TidegateError
from tidegate.image import romfs

Cli = Callable[..., Result]
FILE = """
[product]
name = "acme-cooler"
vendor = "acme.example"
boards = ["qemu_mps2"]
version = "1.0.0"
"""


def make(folder: Path, text: str = FILE) -> Path:
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "__init__.py").write_text("def start(boot):\n    pass\n")
    (folder / "tidegate.toml").write_text(text)
    return folder


BUILD = ("release", "build", "--board", "qemu_mps2", "--version", "1", "--sequence", "1")


def test_a_project_is_built_from_its_own_application(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "cooler")
    (folder / "app" / "fan.py").write_text("SPEED = 7\n")
    monkeypatch.chdir(folder / "app")  # found upwards
    done = cli(*BUILD, "--product", "acme-cooler", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert f"sources: {folder} (application: app/; Tidegate: {ROOT})" in done.stdout
    assert "native modules: _bspatch, _ed25519" in done.stdout or "native modules: none" in done.stdout
    image = next((tmp_path / "out" / "p").iterdir()).read_bytes()
    found = romfs.files(image)
    assert "/app/fan.mpy" in found and "/app/bus.mpy" not in found
    assert json.loads(found["/release.json"])["product"] == "acme-cooler"


def test_nothing_is_built_outside_of_a_project(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F1 of the first strangers: an application in firmware/app, and the example of a checkout was built instead."""
    monkeypatch.chdir(tmp_path)
    done = cli(*BUILD, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "is not inside a project" in done.stderr and "tidegate new NAME" in done.stderr
    shutil.copytree(ROOT / "examples" / "vehicle-gateway" / "app", tmp_path / "firmware" / "app")
    (tmp_path / "boards").mkdir()
    for more in ((), ("--source", tmp_path)):
        done = cli(*BUILD, "--out", tmp_path / "out", *more)
        assert done.exit_code == 1 and "whose libraries" in done.stderr and "tidegate.toml" in done.stderr
    done = cli(*BUILD, "--out", tmp_path / "out", "--source", tmp_path / "nowhere")
    assert done.exit_code == 1 and "is not a project" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_board_of_ones_own_comes_first(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", FILE.replace('["qemu_mps2"]', '["qemu_mps2", "mine", "unix"]'))
    for name in ("qemu_mps2", "mine"):
        shutil.copytree(ROOT / "boards" / "qemu_mps2", folder / "boards" / name)
        file = folder / "boards" / name / "board.toml"
        file.write_text(file.read_text().replace('name = "qemu_mps2"', f'name = "{name}"'))
    sources = project.load(folder).sources
    assert sources.board("qemu_mps2").folder == folder / "boards" / "qemu_mps2"
    assert sources.board("mine").folder == folder / "boards" / "mine"
    assert sources.board("unix").folder == ROOT / "boards" / "unix"
    with pytest.raises(TidegateError, match="there is no board qemu_mps3") as failed:
        sources.board("qemu_mps3")
    assert failed.value.remedy.startswith("Did you mean qemu_mps2?")


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    (
        ('name = "acme-cooler"', 'name = "Acme Cooler"', 3, "product.name is 'Acme Cooler'; it must be 1 to 64 of a-z"),
        ('vendor = "acme.example"', 'vendor = "acme"', 4, "product.vendor is 'acme'; it must be a domain name"),
        ('vendor = "acme.example"', "vendor = 7", 4, "product.vendor must be a text"),
        ('["qemu_mps2"]', '["qemu_mps3"]', 5, "product.boards names qemu_mps3, and there is no such board; there are"),
        ('["qemu_mps2"]', "[]", 5, "product.boards names no board"),
        ('["qemu_mps2"]', '["../x"]', 5, "product.boards has '../x' in it; it must be a list of names of boards"),
        ('"1.0.0"', '"1 0"', 6, "product.version is '1 0'"),
        ("[product]", "[produkt]", 2, "produkt is unknown; did you mean product?"),
        ("boards =", "boads =", 5, "product.boads is unknown; did you mean boards?"),
        ('"1.0.0"', '"1.0.0"\n[image]\napp = "src"', 8, "image.app is 'src', and there is no src/__init__.py"),
        ('"1.0.0"', '"1.0.0"\n[image]\napp = "../src"', 8, "image.app is '../src'; it must be a folder of the project"),
        (
            '"1.0.0"',
            '"1.0.0"\n[server]\nurl = "ftp://x"',
            8,
            "server.url is 'ftp://x'; it must be the server's address",
        ),
        ('"1.0.0"', '"1.0.0', 6, "Illegal character"),
        (
            '"1.0.0"',
            '"1.0.0"\n[settings]\ntelemetry_perod_s = 2',
            8,
            "settings.telemetry_perod_s is a setting that no board has",
        ),
        ('"1.0.0"', '"1.0.0"\n[settings.mqtt]\nport = 0', 8, "settings.mqtt.port must be"),
        ('"1.0.0"', '"1.0.0"\n[settings]\nuplink = "lora"', 8, "settings.uplink must be"),
    ),
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    assert FILE.count(old) == 1
    folder = make(tmp_path / "p", FILE.replace(old, new))
    with pytest.raises(TidegateError) as failed:
        project.load(folder)
    assert failed.value.message.startswith(f"{folder}/tidegate.toml:{line}: {what}"), failed.value.message
    assert failed.value.remedy


def test_what_is_missing(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", '[product]\nname = "x"\nboards = ["unix"]\n')
    with pytest.raises(TidegateError, match="tidegate.toml: product.vendor is missing: a domain name"):
        project.load(folder)
    (folder / "tidegate.toml").write_text("")
    with pytest.raises(TidegateError, match=r"tidegate.toml: product is missing: a table \[product\]"):
        project.load(folder)


def test_commands_in_a_project_mean_its_product(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F2 of the first strangers: a device registered under the default product was never offered an update."""
    monkeypatch.chdir(tmp_path)
    assert project.product_here() == "tidegate-gateway"
    monkeypatch.chdir(make(tmp_path / "cooler") / "app")
    assert project.product_here() == "acme-cooler"
    assert "the project's here, else tidegate-gateway" in " ".join(
        cli("device", "add", "--help").stdout.split()
    ).replace("- ", "-")
    done = cli(*BUILD, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    index = json.loads((tmp_path / "out" / "release.json").read_text())
    assert (index["product"], index["vendor"]) == ("acme-cooler", "acme.example")
