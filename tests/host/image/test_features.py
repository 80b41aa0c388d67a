"""What an image leaves out: by features, by imports, and never what somebody could still import."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from projects import ROOT, write_app

from tidegate import boards
from tidegate.errors import TidegateError
from tidegate.image import Identity, build_image, features, imports, romfs
from tidegate.image.build import source_files
from tidegate.sources import Sources

LIB = ROOT / "firmware" / "lib"
LEAST = ("mqtt", "http", "commands")
IDENTITY = Identity("p", "1.0.0", 1, "unix")


def held(sources: Sources, *named: str, board: str = "unix", modules: tuple[str, ...] = ()) -> set[str]:
    """The modules of the library in an image with these features."""
    chosen = dataclasses.replace(sources, features=named, modules=modules)
    files = source_files(chosen, boards.load(ROOT, board))
    return {
        name.removeprefix("lib/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name, _ in files
        if name.startswith("lib/")
    }


@pytest.fixture
def sources(project: Path) -> Sources:
    (project / "firmware/app/__init__.py").write_text(
        "from gate import Agent\ndef start(boot):\n    Agent(boot).run()\n"
    )
    return Sources.checkout(project)


def test_without_a_word_everything_is_there(sources: Sources) -> None:
    files = source_files(sources, boards.load(ROOT, "unix"))
    assert sources.features is None and any(name == "lib/coap/server.py" for name, _ in files)


def test_each_feature_brings_what_it_names(sources: Sources) -> None:
    least, everything = held(sources, *LEAST), held(sources, *features.FEATURES)
    for module, needs in features.MODULES.items():
        own = all(feature not in features.FEATURES for need in needs for feature in need.split("+"))
        assert (LIB / module.replace(".", "/")).exists() or (LIB / f"{module.replace('.', '/')}.py").exists(), module
        assert own or module in everything, module
    for feature in set(features.FEATURES) - set(LEAST):
        assert held(sources, *LEAST, feature) >= least - {"gate.telemetry.no_ring"}
    assert "coap.client" in everything and "coap.server" not in everything  # nothing of ours is a server
    assert not [name for name in least if name.startswith(("coap", "gate.enrolment", "mqtt.v5"))]
    assert {"gate.commands.ops.device", "gate.commands.executor", "gate.update.install", "bspatch.plain"} <= least


def test_nothing_that_is_left_out_is_imported_at_once(sources: Sources) -> None:
    """No module of an image fails to load for want of another: such imports stand in a `try`."""
    present = held(sources, *LEAST)
    library = {path: imports.parse(path) for path in LIB.rglob("*.py")}
    names = {".".join(p.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__"): p for p in library}
    for module in present:
        tree = library[names[module]]
        at_once = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else str(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert at_once & set(names) <= present, f"{module} cannot be imported"


def test_what_the_application_imports_is_there_whole(sources: Sources) -> None:
    (sources.app / "more.py").write_text("def later():\n    import coap.server\n")
    found = held(sources, *LEAST)
    assert {"coap.server", "coap.peer", "coap.listener"} <= found and "gate.link.coap" not in found


@pytest.mark.parametrize("text", ["from gate import calibrator", "import gate\ngate.Agent(None, data={})"])
def test_what_the_application_uses_is_a_feature(sources: Sources, text: str) -> None:
    (sources.app / "more.py").write_text(text + "\n")
    assert {"gate.update.data_component", "gate.telemetry.calibration"} <= held(sources, *LEAST)


def test_modules_are_held_by_name(sources: Sources) -> None:
    assert "senml_cbor.reader" not in held(sources, *LEAST)
    assert "senml_cbor.reader" in held(sources, *LEAST, modules=("senml_cbor.reader",))
    with pytest.raises(TidegateError, match="no module senml_cbor.raeder"):
        held(sources, *LEAST, modules=("senml_cbor.raeder",))


def test_a_board_brings_its_own(sources: Sources) -> None:
    assert "gate.commands.ops.host" in held(sources, *LEAST)
    machine_code = sources.library / "build/native/armv7m"
    m3 = held(sources, *LEAST, board="qemu_mps2")
    assert "gate.commands.ops.host" not in m3 and {"ed25519.pure", "bspatch.viper"} <= m3
    machine_code.mkdir(parents=True)
    for name in ("_ed25519", "_bspatch"):
        (machine_code / f"{name}.mpy").write_bytes(b"")
    m3 = held(sources, *LEAST, board="qemu_mps2")
    assert not {"ed25519.pure", "bspatch.viper", "bspatch.plain", "sha512", "gate.trust.key_tables"} & m3
    assert {"ed25519.pure", "sha512"} <= held(sources, *LEAST, "identity", board="qemu_mps2")  # who signs needs them


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (("mqtt", "http", "datta"), "no feature datta"),
        (("http",), "no uplink"),
        (("mqtt",), "no way to fetch"),
    ],
)
def test_features_that_make_no_image(sources: Sources, named: tuple[str, ...], words: str) -> None:
    with pytest.raises(TidegateError, match=words):
        held(sources, *named)


def test_a_checkout_says_it_in_its_file(sources: Sources) -> None:
    path = sources.folder / "firmware/image.toml"
    path.write_text('[image]\nfeatures = ["coap"]\nlines = false\n')
    found = Sources.checkout(sources.folder)
    assert (found.features, found.lines) == (("coap",), False)
    path.write_text('\n[image]\nfeatures = ["co ap"]\n')
    with pytest.raises(TidegateError, match=r"image\.toml:3: image.features"):
        Sources.checkout(sources.folder)
    path.write_text("[image\n")
    with pytest.raises(TidegateError, match="cannot be read"):
        Sources.checkout(sources.folder)


def test_the_example_declares_what_it_uses() -> None:
    found = Sources.checkout(ROOT).features
    assert found is not None and {"mqtt", "data", "enrolment", "identity"} <= set(found) and "coap" not in found


def test_without_lines_images_are_smaller(project: Path) -> None:
    write_app(project, "one")
    with_lines = Sources.checkout(project)
    board = boards.load(ROOT, "unix")
    without = dataclasses.replace(with_lines, lines=False)
    small, large = build_image(without, board, IDENTITY), build_image(with_lines, board, IDENTITY)
    assert len(small) < 0.96 * len(large) and romfs.files(small).keys() == romfs.files(large).keys()


def test_every_module_that_imports_by_name_is_followed() -> None:
    found = {
        ".".join(path.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")
        for path in LIB.rglob("*.py")
        if "__import__(" in path.read_text().replace("`__import__`", "")
    }
    assert found == imports.LOADING
