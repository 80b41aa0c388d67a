"""Libraries of others: locked from an index on loopback, built into images, with and without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from mip_index import Index, serve
from projects import ROOT

from tidegate import project
from tidegate.dev.watch import Watcher
from tidegate.image import romfs
from tidegate.libraries import downloads
from tidegate.libraries.modules import MICROPYTHON
from tidegate.release import load_release

Cli = Callable[..., Result]
UNIX = ROOT / "build/unix/micropython"
FILE = """
[product]
name = "acme-cooler"
vendor = "acme.example"
boards = ["unix"]
version = "1.0.0"

[image]
features = ["mqtt", "http"]

[libraries]
index = "{index}"
requires = [{requires}]
"""
CORE = "from micropython import const\n_SCALE = const(10)\n\n\ndef scaled(value):\n    return value * _SCALE\n"
SENSOR = "from bus.core import scaled\nimport cose\n\n\ndef read():\n    return scaled(7)\n"


@pytest.fixture
def index() -> Iterator[Index]:
    with serve() as found:
        found.add("bus-core", "0.3.0", {"bus/core.py": CORE, "bus/__init__.py": ""})
        found.add("sensor", "1.2.0", {"sensor.py": SENSOR, "README.md": "words"}, (("bus-core", "latest"),))
        yield found


@pytest.fixture
def made(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, which we are in; it requires sensor@1.2.0."""
    (tmp_path / "app").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "app/__init__.py").write_text("import sensor\n\n\ndef start(boot):\n    return sensor.read()\n")
    (tmp_path / "tests/test_app.py").write_text("import app\n\n\ndef test_reads():\n    assert app.start(None) == 70\n")
    monkeypatch.chdir(tmp_path)
    require(index, "sensor@1.2.0")
    return tmp_path


def require(index: Index, *libraries: str) -> None:
    Path("tidegate.toml").write_text(FILE.format(index=index.url, requires=json.dumps(libraries)[1:-1]))


def failing(done: Result, *says: str) -> None:
    assert done.exit_code == 1
    for text in says:
        assert text in done.stderr, done.stderr


def image_files(folder: Path) -> set[str]:
    release = load_release(folder / ".tidegate/build")
    return set(romfs.files(release.payload(release.targets["unix"].digest)))


def test_from_an_index_into_the_image(cli: Cli, made: Path, index: Index) -> None:
    failing(cli("build"), "sensor@1.2.0 is required, and tidegate.lock does not have it", "Run `tidegate lock`")
    assert not index.asked, "nothing is looked up but by tidegate lock"
    done = cli("lock", "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["changed"] and [one["package"] for one in answer["packages"]] == ["sensor", "bus-core"]
    assert [one["version"] for one in answer["packages"]] == ["1.2.0", "0.3.0"]
    text = (made / "tidegate.lock").read_text()
    count = len(index.asked)
    assert cli("build").exit_code == 0
    assert len(index.asked) == count, "a build takes what is in the cache"
    found = image_files(made)
    assert {"/lib/sensor.mpy", "/lib/bus/core.mpy", "/lib/bus/__init__.mpy"} <= found
    assert "/lib/README.md" not in found and "/lib/cose.mpy" in found, "what a library imports of ours is there"
    parts = json.loads(cli("size", "--json").stdout)["parts"]
    assert parts["lib/sensor.mpy"]["bytes"] and parts["lib/bus/"]["bytes"]
    assert "as it was" in cli("lock").stdout and (made / "tidegate.lock").read_text() == text
    assert not [path for path in made.rglob("*") if path.name.startswith(".sensor")], "nothing half done is left"


@pytest.mark.parametrize("ground", ("cpython", pytest.param("unix", marks=pytest.mark.built)))
def test_tests_import_them(cli: Cli, made: Path, ground: str) -> None:
    if ground == "unix" and not UNIX.exists():
        pytest.skip("build/unix/micropython is not built")
    assert cli("lock").exit_code == 0
    # CPython has no module micropython, which libraries for boards import: a project's tests bring what they need.
    (made / "tests/micropython.py").write_text("def const(value):\n    return value\n")
    done = cli("test", "--ground", ground)
    assert done.exit_code == 0, done.output


def test_without_a_network(cli: Cli, made: Path, index: Index) -> None:
    assert cli("lock").exit_code == 0
    answers, index.answers = index.answers, {}
    assert cli("build").exit_code == 0 and cli("lock").exit_code == 0
    shutil.rmtree(".tidegate/libraries")
    failing(cli("build"), "sensor@1.2.0: there is no http://127.0.0.1")
    assert not list(Path(".tidegate/libraries").iterdir()), "half a library is none"
    index.answers = answers
    assert cli("build").exit_code == 0
    for path in [path for path in answers if path.startswith("/file/")]:
        answers[path] = b"other = 1\n"
    shutil.rmtree(".tidegate/libraries")
    failing(cli("build"), "sensor@1.2.0: http://", "one of the two was changed", "tidegate lock --update")


def test_a_cache_that_was_changed(cli: Cli, made: Path) -> None:
    assert cli("lock").exit_code == 0
    (path,) = Path(".tidegate/libraries").glob("*/sensor.py")
    path.write_text(path.read_text() + "print(1)\n")
    failing(cli("build"), "sensor@1.2.0:", "sensor.py is not the file that tidegate.lock pins", "Remove ")
    shutil.rmtree(path.parent)
    assert cli("build").exit_code == 0


def test_pins_stay_until_they_are_updated(cli: Cli, made: Path, index: Index) -> None:
    require(index, "sensor", "bus-core@0.3.0")
    assert cli("lock").exit_code == 0
    index.add("sensor", "1.3.0", {"sensor.py": "def read():\n    return 8\n"})
    require(index, "sensor")
    failing(cli("build"), "tidegate.lock has bus-core@0.3.0, which is not required any more")
    failing(cli("lock", "--check"), "tidegate.lock has bus-core@0.3.0")
    assert cli("lock").exit_code == 0 and cli("lock", "--check").exit_code == 0
    assert versions() == {"sensor": "1.2.0", "bus-core": "0.3.0"}
    assert cli("lock", "--update").exit_code == 0
    assert versions() == {"sensor": "1.3.0"}
    require(index, "sensor@1.3.0")
    failing(cli("lock", "--check", "--json"), "sensor@1.3.0 is required, and tidegate.lock has sensor", "remedy")
    assert cli("lock", "--check", "--update").exit_code == 2


def versions() -> dict[str, str]:
    value = json.loads(Path("tidegate.lock").read_text())
    return {package["name"]: package["version"] for entry in value["libraries"] for package in entry["packages"]}


def test_folders_of_the_project(cli: Cli, made: Path, index: Index) -> None:
    (made / "lib/fan").mkdir(parents=True)
    (made / "lib/fan/__init__.py").write_text("SPEED = 3\n")
    (made / "lib/fan/curve.txt").write_text("1 2 3\n")
    require(index, "sensor@1.2.0", "./lib")
    watcher = Watcher(made / name for name in project.load(made).sources.tracked)
    assert cli("lock").exit_code == 0 and cli("build").exit_code == 0
    assert {"/lib/fan/__init__.mpy", "/lib/fan/curve.txt", "/lib/sensor.mpy"} <= image_files(made)
    (made / "lib/fan/__init__.py").write_text("SPEED = 33\n")
    assert cli("build").exit_code == 0, "a folder of the project is its source: nothing of it is pinned"
    watcher.changed()
    assert {path.name for path in watcher.changed()} == {"__init__.py", "tidegate.lock"}
    description = {"urls": [["fan2.py", "fan/__init__.py"]], "deps": [["bus-core", "0.3.0"]]}
    (made / "lib/package.json").write_text(json.dumps(description))
    require(index, "./lib")
    failing(cli("build"), "./lib is required, and tidegate.lock does not have it")
    assert cli("lock").exit_code == 0
    description["deps"] = [["bus-core", "latest"]]
    (made / "lib/package.json").write_text(json.dumps(description))
    failing(cli("build"), "./lib depends on other packages than tidegate.lock says")
    assert cli("lock").exit_code == 0
    (made / "app/__init__.py").write_text("def start(boot):\n    import fan2, bus.core\n")
    assert cli("build").exit_code == 0
    assert {"/lib/fan2.mpy", "/lib/bus/core.mpy"} <= image_files(made)
    description["urls"] = [["fan2.py", "../../fan.py"]]
    (made / "lib/package.json").write_text(json.dumps(description))
    failing(cli("build"), "../../fan.py is not in the project")


def test_a_watcher_learns_of_folders_later(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    watcher = Watcher([tmp_path / "a"])
    (tmp_path / "a").write_text("12")
    watcher.watch([tmp_path / "a", tmp_path / "b"])
    watcher.changed()
    assert [path.name for path in watcher.changed()] == ["a"]
    (tmp_path / "b").write_text("12")
    watcher.changed()
    assert [path.name for path in watcher.changed()] == ["b"]


def test_a_release_is_reproduced_with_them(cli: Cli, made: Path) -> None:
    assert cli("lock").exit_code == 0
    (made / ".gitignore").write_text("/.tidegate/\n")
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "One.")):
        subprocess.run(["git", *words], check=True)
    assert cli("build").exit_code == 0
    assert (origin := load_release(made / ".tidegate/build").origin) and origin.commit
    Path("tidegate.lock").unlink()  # what counts is the commit's
    done = cli("release", "reproduce", ".tidegate/build")
    assert done.exit_code == 0 and "the image is the same" in done.stdout, done.stderr


def test_libraries_of_a_forge(cli: Cli, made: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of github.com, answered here."""

    class Here(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert request.url.scheme == "https" and request.url.host == "raw.githubusercontent.com"
            request.url = httpx.URL(index.url + request.url.path)
            return super().handle_request(request)

    monkeypatch.setattr(downloads, "new_client", lambda: httpx.Client(transport=Here()))
    index.answers["/user/lib/v1.2/package.json"] = json.dumps(
        {"urls": [["fan.py", "src/fan.py"], ["data.json", "github:user/other/data.json"]], "version": "1.2"}
    ).encode()
    index.answers["/user/lib/v1.2/src/fan.py"] = b"SPEED = 3\n"
    index.answers["/user/other/v1.2/data.json"] = b"[1, 2"  # any bytes: it is no description
    index.answers["/user/one/HEAD/led.py"] = b"ON = 1\n"
    require(index, "github:user/lib@v1.2", "github:user/one/led.py")
    assert (done := cli("lock")).exit_code == 0, done.stderr
    (made / "app/__init__.py").write_text("import fan, led\n\n\ndef start(boot):\n    pass\n")
    assert cli("build").exit_code == 0
    assert {"/lib/fan.mpy", "/lib/data.json", "/lib/led.mpy"} <= image_files(made)


@pytest.mark.parametrize(
    ("files", "says"),
    (
        ({"cbor.py": ""}, "bad has a module cbor, and cbor is Tidegate's own"),
        ({"gate/more.py": ""}, "bad has a module gate, and gate is Tidegate's own"),
        ({"_ed25519.py": ""}, "bad has a module _ed25519, and _ed25519 is Tidegate's own"),
        ({"app/x.py": ""}, "bad has a module app, and app is Tidegate's own"),
        ({"json.py": ""}, "bad has a module json, and json is MicroPython's own"),
        ({"asyncio/more.py": ""}, "bad has a module asyncio, and asyncio is MicroPython's own"),
        ({"sensor.py": "other = 1\n"}, "sensor@1.2.0 and bad both have a module sensor"),
        ({"sensor/__init__.py": ""}, "sensor@1.2.0 and bad both have a module sensor"),
        ({"../x.py": ""}, "'../x.py' is not a path below lib/"),
        ({"/etc/x.py": ""}, "'/etc/x.py' is not a path below lib/"),
        ({"a/../../x.py": ""}, "is not a path below lib/"),
        ({".x/y.py": ""}, "is not a path below lib/"),
        ({"a\\b.py": ""}, "is not a path below lib/"),
        (
            {"fast.mpy": ""},
            "bad: fast.mpy is compiled",
        ),
        ({"big.py": "#" * 300_000}, "has more than 262144 bytes"),
        ({f"m{number}.py": "" for number in range(301)}, "hashes is not a list of at most 300"),
    ),
)
def test_libraries_that_are_refused(cli: Cli, made: Path, index: Index, files: dict[str, str], says: str) -> None:
    require(index, "sensor@1.2.0", "bad")
    index.add("bad", "1", files)
    failing(cli("lock"), says)
    assert not Path("tidegate.lock").exists() and not Path(".tidegate").exists(), "nothing half done"


@pytest.mark.parametrize(
    ("package", "says"),
    (
        (b"{", "is not JSON"),
        (b"[" * 5000, "nested more than"),
        (b"[]", "is not an object"),
        (b'{"urls": {"a.py": "b"}}', "urls is not a list"),
        (b'{"urls": [["a.py"]]}', "not a pair of texts"),
        (b'{"hashes": [["a.py", "../../x"]]}', "in place of a hash"),
        (b'{"deps": [["/etc/passwd.json", "1"]]}', "a library is"),
        (b'{"deps": [["./x.json", "1"]]}', "depends on './x.json'"),
        (b'{"deps": [["../x", "1"]]}', "a library is"),
        (b'{"deps": [["http://example.org/x", ""]]}', "has no TLS"),
        (b'{"deps": [["http://127.0.0.1:9/x", ""]]}', "http://127.0.0.1:9/x/package.json has no TLS"),
        (b'{"urls": [["a.py", "http://["]]}', "'http://[' is not an address"),
        (b'{"urls": [["a.py", "https://[/a.py"]]}', "https://[/a.py"),
        (b'{"deps": [["https://[::1/x", ""]]}', "cannot be reached"),
        (b'{"deps": [["bad", "latest"]]}', "bad needs bad, in a circle"),
        (b'{"urls": [["a.py", "http://example.org/a.py"]]}', "http://example.org/a.py has no TLS"),
        (b'{"urls": [["a.py", "file:///etc/passwd"]]}', "there is no http://127.0.0.1"),
        (b'{"urls": [["a.py", "/moved"]]}', "http://example.org/ has no TLS"),
        (b'{"urls": [["a.py", "github:x"]]}', "a library is"),
        (b'{"urls": [["a.py", "/round"]]}', "redirects more than 5 times"),
        (b"{" + b" " * 70_000 + b"}", "has more than 65536 bytes"),
    ),
)
def test_descriptions_that_are_refused(cli: Cli, made: Path, index: Index, package: bytes, says: str) -> None:
    require(index, "bad")
    index.answers["/package/py/bad/latest.json"] = package
    index.answers["/package/py/bad//moved"] = "http://example.org/"
    index.answers["/package/py/bad//round"] = "/package/py/bad//round"
    failing(cli("lock"), says)
    assert not Path("tidegate.lock").exists()


def test_an_index_that_is_wrong(cli: Cli, made: Path, index: Index) -> None:
    require(index, "nothing")
    failing(cli("lock"), "nothing: there is no http://127.0.0.1", "Check the name and the version")
    require(index, "sensor")
    for path in [path for path in index.answers if path.startswith("/file/")]:
        index.answers[path] = b"x = 1\n"
    failing(cli("lock"), "is not what its name, a hash, says")
    index.add("a", "1", {"m.py": "1"}, (("b", "1"),))
    index.add("b", "1", {"m.py": "2"})
    require(index, "a")
    failing(cli("lock"), "a: b and a both have m.py, and not the same one")
    for number in range(70):
        index.add(f"p{number}", "1", {}, ((f"p{number + 1}", "1"),))
    require(index, "p0")
    failing(cli("lock"), "p0 needs more than 60 packages")


@pytest.mark.parametrize(
    ("line", "says"),
    (
        ('requires = ["Aioble@"]', "'' is not a version"),
        ('requires = ["a@1@2"]', "'1@2' is not a version"),
        ('requires = ["a b"]', "a library is"),
        ('requires = [""]', "a library is"),
        ('requires = ["x.json"]', "a library is"),
        ('requires = ["/tmp/lib"]', "a library is"),
        ('requires = ["../lib"]', "a library is"),
        ('requires = ["./a/../../lib"]', "a library is"),
        ('requires = ["./größe"]', "a library is"),
        ('requires = ["github:user"]', "a library is"),
        ('requires = ["github:user/../x"]', "a library is"),
        ('requires = ["ftp://example.org/x"]', "a library is"),
        ('requires = ["http://example.org/x.py"]', "has no TLS"),
        ('requires = ["./nowhere"]', "names ./nowhere, and there is no such folder"),
        ('requires = ["a@1", "a@2"]', "has a@1 and a@2"),
        ('requires = "a"', "must be a list of texts"),
        ('index = "http://example.org"', "libraries.index is http://example.org, which has no TLS"),
        ('index = "example.org"', "it must be the address of an index"),
    ),
)
def test_lines_that_cannot_be(cli: Cli, made: Path, line: str, says: str) -> None:
    text = FILE[: FILE.index("index =")] + line + "\n"
    Path("tidegate.toml").write_text(text)
    failing(cli("lock"), f"{made}/tidegate.toml:12: libraries.", says)


@pytest.mark.parametrize(
    "text",
    (
        "<<<<<<< ours\n",
        "[]",
        '{"form": 1, "libraries": [{"require": "a b", "index": "", "needs": [], "packages": []}]}',
        '{"form": 2, "libraries": []}',
        '{"form": 1, "libraries": [{"require": "sensor@1.2.0"}]}',
        '{"form": 1, "libraries": [{"require": "sensor@1.2.0", "index": "", "needs": [], "packages": [{"name": "a",'
        ' "version": "1", "files": [{"path": "../x.py", "sha256": "' + "0" * 64 + '", "size": 1, "url": ""}]}]}]}',
    ),
)
def test_locks_that_are_none(cli: Cli, made: Path, text: str) -> None:
    Path("tidegate.lock").write_text(text)
    for words in (("build",), ("lock",), ("lock", "--check")):
        failing(cli(*words), "tidegate.lock", "`tidegate lock --update` writes it anew")
    assert cli("lock", "--update").exit_code == 0 and cli("lock", "--check").exit_code == 0


def test_an_index_named_in_the_command(cli: Cli, made: Path, index: Index) -> None:
    Path("tidegate.toml").write_text(FILE.format(index="https://index.invalid", requires='"sensor"'))
    assert cli("lock", "--index", index.url + "/").exit_code == 0
    assert cli("build").exit_code == 0
    assert cli("lock", "--index", "file:///x").exit_code == 2


def test_a_project_without_libraries_has_no_lock(cli: Cli, made: Path, index: Index) -> None:
    require(index)
    (made / "app/__init__.py").write_text("def start(boot):\n    pass\n")
    for words in (("lock",), ("lock", "--check"), ("build",)):
        assert cli(*words).exit_code == 0
    assert not Path("tidegate.lock").exists() and not index.asked


@pytest.mark.built
@pytest.mark.skipif(not UNIX.exists(), reason="build/unix/micropython is not built")
def test_names_of_micropython_are_all_known() -> None:
    done = subprocess.run([UNIX, "-c", 'help("modules")'], capture_output=True, text=True, check=True, timeout=60)
    names = {word.partition("/")[0] for word in done.stdout.partition("Plus any")[0].split()}
    assert len(names) > 30 and names - {"__main__"} <= MICROPYTHON
