"""`tidegate new`, `build`, `size`, `release` and `doctor`: a project from nothing to a signed release."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from at_terminal import AtTerminal
from click.testing import Result
from projects import ROOT

from tidegate import doctor, project
from tidegate.cli import _project_release
from tidegate.files import write_atomic
from tidegate.image import Identity, build_image
from tidegate.project import create
from tidegate.release import load_release, verify_release
from tidegate.trust import keys, store

Cli = Callable[..., Result]
TYPES = ROOT / "firmware" / "typings"


@pytest.fixture
def made(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, which we are in."""
    monkeypatch.chdir(tmp_path)
    done = cli("new", "my-gateway", "--vendor", "acme.example", "--board", "qemu_mps2", "--board", "unix")
    assert done.exit_code == 0, done.stderr
    monkeypatch.chdir("my-gateway")
    return Path.cwd()


@pytest.mark.built
def test_memory_that_is_known_is_not_measured_again(cli: Cli, made: Path) -> None:
    """tests/e2e/test_project.py measures; here figures are those that earlier measurements left."""
    done = cli("size", "--ram", "--board", "unix")
    assert done.exit_code == 1 and "Give --board qemu_mps2" in done.stderr

    make_keys(made)
    assert cli("release").exit_code == 0
    release = load_release(next((made / "releases").iterdir()))
    app = made / "app" / "__init__.py"
    app.write_text(app.read_text() + "\nmore = 1\n")
    emulated = project.load(made).sources.board("qemu_mps2")
    image = build_image(project.load(made).sources, emulated, Identity("my-gateway", "0.1.0", 1, emulated.name))
    firmware = hashlib.sha256((ROOT / emulated.settings["emulator"]["m3"]["firmware"]).read_bytes()).hexdigest()
    memory = made / ".tidegate" / "memory"
    memory.mkdir(parents=True)
    for digest, live in ((release.targets["qemu_mps2"].digest, 60_000), (hashlib.sha256(image).hexdigest(), 61_234)):
        figures = json.dumps({"live": live, "free": 50_000, "largest": 40_000})
        (memory / f"{digest}-{firmware}.json").write_text(figures)
    found = json.loads(cli("size", "--ram", "--json").stdout)["ram"]
    assert found == {"live": 61_234, "free": 50_000, "largest": 40_000, "change": 1_234}
    assert re.search(r"^ +61234 +\+1234  live$", cli("size", "--ram").stdout, re.MULTILINE)


def make_keys(folder: Path) -> None:
    (folder / "keys").mkdir()
    found = [keys.new(role) for role in ("release", "command", "root")]
    for key in found:
        keys.save(key, folder / "keys" / f"{key.role}.jwk")
    (folder / "trust.cbor").write_bytes(store.encode(store.make(found)))


def test_a_new_project(cli: Cli, made: Path) -> None:
    found = project.load(made)
    assert (found.product, found.vendor, found.boards) == ("my-gateway", "acme.example", ("qemu_mps2", "unix"))
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    expected = {"tidegate.toml", "README.md", ".gitignore", "app/__init__.py", "tests/test_app.py"}
    types = {f"typings/{path.relative_to(TYPES).as_posix()}" for path in TYPES.rglob("*.pyi")}
    expected |= {".github/workflows/gateway.yml", "mypy.ini", "typings/tidegate-version"}
    assert types and files == expected | types
    assert not [path for path in files if re.search(r"@[A-Z]+@", (made / path).read_text())]
    code = (made / "app" / "__init__.py").read_text()
    body = [
        line for line in code.split('"""', 2)[2].splitlines() if line.strip() and not line.strip().startswith('"""')
    ]
    assert len(body) <= 20, "an application in twenty lines"


def test_an_application_that_starts_nothing(cli: Cli, made: Path) -> None:
    app = made / "app" / "__init__.py"
    for text in ("print(1)\n", "from gate import Uptime\nclock = Uptime()\n"):
        app.write_text(text)
        done = cli("build")
        assert (
            done.exit_code == 1
            and "app/__init__.py starts nothing" in done.stderr
            and "gate.measurement" in done.stderr
        )
    (made / "app" / "pump.py").write_text("import gate\n@gate.ready\ndef ready():\n    return True\n")
    project.load(made)
    for text in ("def start(boot):\n    pass\n", "from gate import start\n", "start = print\n", "def broken(:\n"):
        app.write_text(text)
        (made / "app" / "pump.py").write_text("")
        project.load(made)


@pytest.mark.parametrize(
    ("line", "says", "remedy"),
    (
        (
            "import nowhere",
            "imports nowhere, which neither the image nor MicroPython has",
            "Name its library in `requires`",
        ),
        ("def f():\n    from machin import Pin", "/__init__.py:2 imports machin,", "Did you mean machine?"),
        ("import gate.nothing", "imports gate.nothing,", "Did you mean gate."),
        ("import app.pumps", "imports app.pumps,", "Did you mean app.pump?"),
        ("from gate import Cal", "imports Cal from gate, which has no such name", "Did you mean Call?"),
        ("from mqtt import Clients", "imports Clients from mqtt,", "Did you mean Client?"),
        ("from app.pump import stop", "imports stop from app.pump,", "app/pump.py has what there is"),
        ("try:\n    import nowhere\nexcept OSError:\n    pass", "imports nowhere,", "except ImportError:"),
    ),
)
def test_an_import_that_no_image_has(cli: Cli, made: Path, line: str, says: str, remedy: str) -> None:
    app = made / "app" / "__init__.py"
    (made / "app" / "pump.py").write_text("")
    app.write_text(f"{line}\n" + app.read_text())
    done = cli("build", "--board", "unix")
    assert done.exit_code == 1 and says in done.stderr and remedy in done.stderr, done.stderr
    assert not (made / ".tidegate" / "build").exists()


def test_imports_that_may_fail(cli: Cli, made: Path) -> None:
    """Of MicroPython's builds, of the application itself, and those whose failure is caught."""
    app = made / "app" / "__init__.py"
    (made / "app" / "pump.py").write_text("from . import other\nimport app.other\n")
    (made / "app" / "other.py").write_text("")
    (made / "app" / "made.py").write_text("for name in ('a', 'b'):\n    globals()[name] = 1\n")
    app.write_text(
        "import asyncio, machine, neopixel, bluetooth, mqtt.v5\nfrom app import pump\nfrom coap import client\n"
        "from app.made import a, b\nfrom app.pump import __name__ as pumps\n"
        "from gate import agent, Agent, LinkError, PROTOCOL, console\nfrom cbor import loads, dumps\n"
        "try:\n    from gate import Cal\nexcept ImportError:\n    pass\n"
        "try:\n    import nowhere\nexcept (ImportError, OSError):\n    nowhere = None\n" + app.read_text()
    )
    done = cli("build")
    assert done.exit_code == 0, done.stderr


def test_the_board_of_a_project_that_has_one(cli: Cli, made: Path) -> None:
    for words in (("flash", "unix:gate"), ("device", "add", "gate-1")):
        done = cli(*words)
        assert done.exit_code == 2 and "The project names qemu_mps2, unix." in done.stderr, done.stderr
    file = made / "tidegate.toml"
    file.write_text(re.sub("boards = .*", 'boards = ["qemu_mps2"]', file.read_text()))
    done = cli("flash", "unix:gate")
    assert done.exit_code == 1 and "qemu_mps2 does not run in one" in done.stderr, done.stderr


def test_git_keeps_no_key_of_it(made: Path) -> None:
    make_keys(made)
    for name in ("admin.token", "gate.credentials.json", "gate.claim", "other.jwk", ".tidegate/dev/x", "releases/1/x"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("secret")
    subprocess.run(["git", "init", "--quiet"], check=True, cwd=made)
    subprocess.run(["git", "add", "--all"], check=True, cwd=made)
    added = subprocess.run(["git", "ls-files"], check=True, cwd=made, capture_output=True, text=True).stdout.split()
    assert "tidegate.toml" in added and "trust.cbor" in added
    assert not [name for name in added if re.search(r"jwk$|token|credentials|claim|keys/|\.tidegate|releases", name)]


def test_a_project_names_its_features(cli: Cli, made: Path) -> None:
    path = made / "tidegate.toml"
    as_made = json.loads(cli("size", "--json").stdout)
    assert "lib/coap/" not in as_made["parts"] and "lib/mqtt/" in as_made["parts"]
    everything, count = re.subn(r"\[image\].*\nfeatures = .*\n", "", path.read_text())
    assert count == 1
    path.write_text(everything)
    before = json.loads(cli("size", "--json").stdout)
    assert as_made["image"] < 0.9 * before["image"]
    path.write_text(everything + '\n[image]\nfeatures = ["mqtt", "http", "commands"]\nlines = false\n')
    found = json.loads(cli("size", "--json").stdout)
    assert found["image"] < 0.7 * before["image"] and "lib/coap/" not in found["parts"]
    path.write_text(everything + '\n[image]\nfeatures = ["mqtt", "htpp"]\n')
    done = cli("size")
    assert done.exit_code == 1 and ": there is no feature htpp" in done.stderr
    assert "tidegate.toml:" in done.stderr and "Did you mean http?" in done.stderr


def test_build_and_size_need_no_key(cli: Cli, made: Path) -> None:
    for _ in range(2):  # it may be repeated
        done = cli("build", "--board", "qemu_mps2")
        assert done.exit_code == 0, done.stderr
    assert f"sources: {made} (application: app/; Tidegate: {ROOT})" in done.stdout
    done = cli("size", "--json")
    found = json.loads(done.stdout)
    assert found["board"] == "qemu_mps2" and found["change"] is None
    assert found["image"] == load_release(made / ".tidegate/build").targets["qemu_mps2"].size
    parts = {path: entry["bytes"] for path, entry in found["parts"].items()}
    assert parts["lib/"] == sum(size for path, size in parts.items() if re.fullmatch(r"lib/[^/]+/?", path))
    assert parts["app/"] == parts["app/__init__.mpy"]
    shown = cli("size").stdout
    assert re.search(r"^ +\d+ +lib/$", shown, re.MULTILINE) and re.search(r"^ +\d+ +gate/$", shown, re.MULTILINE)
    assert "agent.mpy" not in shown and "agent.mpy" in cli("size", "--all").stdout


def test_releases_follow_each_other(cli: Cli, made: Path) -> None:
    done = cli("release")
    assert done.exit_code == 1 and "release.jwk does not exist" in done.stderr and "tidegate key new" in done.stderr
    make_keys(made)
    done = cli("release")
    assert done.exit_code == 0, done.stderr
    assert "sequence 1: no earlier release in releases/" in done.stdout
    done = cli("release")
    assert done.exit_code == 1 and "releases/0.1.0 exists" in done.stderr and "Raise version" in done.stderr
    app = made / "app" / "__init__.py"
    app.write_text(app.read_text().replace("215", "216"))
    done = cli("release", "--version", "0.2.0", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["sequence"] == 2, done.stderr
    release = load_release(made / "releases" / "0.2.0")
    assert {len(target.patches) for target in release.targets.values()} == {1}
    verify_release(release, store.load(made / "trust.cbor"), [load_release(made / "releases" / "0.1.0")])
    found = json.loads(cli("size", "--json").stdout)
    assert found["against"] == "0.2.0" and found["change"] == 0


def test_a_release_that_fails_leaves_nothing(cli: Cli, made: Path) -> None:
    make_keys(made)
    (made / "app" / "broken.py").write_text("def f(:\n")
    done = cli("release")
    assert done.exit_code == 1 and "app/broken.py does not compile" in done.stderr
    (made / "app" / "broken.py").unlink()
    keys.save(keys.new("release"), made / "keys" / "release.jwk", replace=True)  # not the one of the trust store
    done = cli("release")
    assert done.exit_code == 1 and not (made / "releases").exists()


def test_the_version_is_git_s_where_the_file_states_none(cli: Cli, made: Path) -> None:
    file = made / "tidegate.toml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("version")))
    done = cli("build")
    assert done.exit_code == 1 and "states no version" in done.stderr and "git tag" in done.stderr
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "One."), ("tag", "v1.2.3")):
        subprocess.run(["git", *words], check=True, cwd=made)
    assert cli("build").exit_code == 0
    release = load_release(made / ".tidegate" / "build")
    assert release.version == "1.2.3"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=made, capture_output=True, text=True).stdout.strip()
    assert release.origin and release.origin.commit == head
    assert release.origin.tools["tidegate"]
    done = cli("release", "reproduce", ".tidegate/build")
    assert done.exit_code == 0 and f"building from commit {head}" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "says", "remedy"),
    (
        (("there", "--vendor", "a.b"), "there exists", "Choose another name"),
        (("My Gate!", "--vendor", "a.b"), "nothing was made", "Add --product, such as"),
        (("x", "--product", "X", "--vendor", "a.b"), "'X' is not a valid product name", "Use 1 to 64 of a-z"),
        (("x", "--vendor", "acme"), "'acme' is not a valid vendor", "a domain name"),
        (("x",), "nothing was made", "Add --vendor DOMAIN"),
        (("x", "--vendor", "a.b", "--board", "rpi_pico_x"), "there is no board rpi_pico_x", "Did you mean rpi_pico_w?"),
        (
            ("x", "--vendor", "a.b", "--board", "../unix"),
            "'../unix' is not a valid board",
            "Boards here",
        ),
    ),
)
def test_what_cannot_be(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    done = cli("new", *words)
    assert done.exit_code == 1 and says in done.stderr and remedy in done.stderr, done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize("error", (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()))
def test_what_ends_in_the_middle_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == "README.md":
            raise error
        write_atomic(path, data)

    monkeypatch.setattr(create, "write_atomic", full)
    monkeypatch.chdir(tmp_path)
    done = cli("new", "x", "--vendor", "a.b")
    assert done.exit_code == (1 if isinstance(error, OSError) else 130)
    assert ("No space left" in done.stderr) == isinstance(error, OSError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("step", "error"),
    (
        ("build_release", KeyboardInterrupt()),
        ("sign_release", OSError(errno.ENOSPC, "No space left on device")),
        ("verify_release", KeyboardInterrupt()),
    ),
)
def test_a_release_that_ends_in_the_middle_takes_no_number(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    """After each step, when its files are there: nothing of them stays, and the next release has their number."""
    make_keys(made)
    file = made / "tidegate.toml"
    file.write_text(re.sub("boards = .*", 'boards = ["unix"]', file.read_text()))
    before = {path for path in made.rglob("*") if ".tidegate" not in path.parts}
    done_by = getattr(_project_release, step)

    def cut(*words: Any, **named: Any) -> None:
        done_by(*words, **named)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_project_release, step, cut)
        done = cli("release")
    assert done.exit_code == (1 if isinstance(error, OSError) else 130), done.stderr
    assert ("No space left" in done.stderr) == isinstance(error, OSError)
    assert {path for path in made.rglob("*") if ".tidegate" not in path.parts} == before
    assert not [path for path in (made / ".tidegate").iterdir() if path.name.startswith("release")]
    if step == "verify_release":
        done = cli("release")
        assert done.exit_code == 0 and "sequence 1: no earlier release" in done.stdout, done.stderr


@pytest.mark.parametrize("module", ("click", "tidegate.errors", "tidegate.cli.doctor"))
def test_ctrl_c_while_it_starts_is_one_line(module: str) -> None:
    """However early: while its own modules and those of others are loaded."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from tidegate.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted\n")


def test_it_asks_on_a_terminal(tmp_path: Path) -> None:
    terminal = AtTerminal("new", "cooler", cwd=tmp_path)
    terminal.type(b"\nacme\nacme.example\nqemu_mps3\nqemu_mps2, unix\n")  # product: the folder's name; two mistakes
    code, shown = terminal.end(), terminal.shown
    assert code == 0, shown
    assert b"'acme' is not a valid vendor" in shown and b"there is no board qemu_mps3" in shown
    found = project.load(tmp_path / "cooler")
    assert (found.product, found.vendor, found.boards) == ("cooler", "acme.example", ("qemu_mps2", "unix"))


@pytest.mark.parametrize(
    ("until", "answers"),
    [(b"Product", b""), (b"Vendor", b"\n"), (b"Boards [", b"\nacme.example\n")],
)
def test_ctrl_c_at_each_question_makes_nothing(tmp_path: Path, until: bytes, answers: bytes) -> None:
    terminal = AtTerminal("new", "cooler", cwd=tmp_path)
    terminal.type(answers)
    terminal.wait_for(until)
    terminal.interrupt()
    code, shown = terminal.end(), terminal.shown
    assert code == 130 and shown.endswith(b"\r\nInterrupted\r\n"), shown
    assert b"Aborted" not in shown and not list(tmp_path.iterdir())


def test_a_folder_whose_name_no_product_may_have(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("new", "My Gate!")
    assert done.exit_code == 1 and "'My Gate!' is not a valid product name" in done.stderr
    command = "tidegate new 'My Gate!' --product my-gate --vendor acme.example"
    assert command in done.stderr and not list(tmp_path.iterdir())
    assert "--product my-gateway --vendor b.example" in cli("new", "!!", "--vendor", "b.example").stderr
    assert "Add --vendor DOMAIN" in cli("new", "gate").stderr
    assert cli(*shlex.split(command)[1:]).exit_code == 0 and project.load(tmp_path / "My Gate!").product == "my-gate"


def test_the_doctor_names_what_is_missing_and_what_brings_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TIDEGATE_UNIX_MICROPYTHON", str(tmp_path / "micropython"))
    done = cli("doctor")
    assert done.exit_code == 1
    assert "missing  qemu-system-arm" in done.stdout and "sudo apt-get install -y qemu-system-arm" in done.stdout
    assert "without  git: missing" in done.stdout and "without  MicroPython for Linux: missing" in done.stdout
    assert "ok       mpy-cross: MicroPython v1.25.0" in done.stdout
    for name in ("qemu-system-arm", "git", "micropython"):
        (tmp_path / name).write_text("#!/bin/sh\necho version 1\n")
        (tmp_path / name).chmod(0o755)
    found = {entry["what"]: entry for entry in json.loads(cli("doctor", "--json").stdout)}
    assert all(found[name]["ok"] for name in ("qemu-system-arm", "git", "MicroPython for Linux", "mpy-cross"))
    (tmp_path / "qemu-system-arm").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    done = cli("doctor")
    assert done.exit_code == 1 and "qemu-system-arm: does not run: broken" in done.stdout
    assert doctor.examine()
