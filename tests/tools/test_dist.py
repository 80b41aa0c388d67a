"""The wheel: the same bytes whenever it is built, and enough to build images without a checkout or a compiler."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import installed_wheel
import pytest

from tidegate import boards
from tidegate.image import romfs

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_wheel.build(tmp_path_factory.mktemp("first"))


def test_built_twice_it_has_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert installed_wheel.build(tmp_path / "second").read_bytes() == wheel.read_bytes()


def test_what_it_carries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        carried = {name.removeprefix("tidegate/carried/") for name in names if name.startswith("tidegate/carried/")}
        licences = {path.partition("/")[2] for path in carried if path.startswith("licences/")}
        texts = {name: archive.read(f"tidegate/carried/licences/{name}").decode() for name in licences}
    for name in boards.names(ROOT):
        assert {f"boards/{name}/board.toml", f"boards/{name}/board.py"} <= carried
        board = boards.load(ROOT, name)
        if board.native:
            assert {f"build/native/{board.arch}/{module}.mpy" for module in ("_bspatch", "_ed25519")} <= carried
        assert all(f"boards/common/{module}.py" in carried for module in board.modules)
    assert {"docs/tutorial.md", "docs/ci/README.md"} <= carried
    assert {"docs/decisions/0006-rollback.md", "docs/wire.cddl", "docs/ops/alerts.yaml"} <= carried
    assert {"firmware/main.py", "firmware/boot/loader.py", "firmware/lib/gate/agent.py"} <= carried
    assert {"build/qemu_mps2/firmware.elf", "build/unix/micropython", "boards/unix/gateway"} <= carried
    assert not [name for name in carried if name.endswith((".c", ".h", ".o")) or "app/" in name or "test" in name]
    assert licences == {"micropython", "lwip", "mbedtls", "monocypher"}
    assert "The MIT License" in texts["micropython"] and "Swedish Institute" in texts["lwip"]
    assert "Apache" in texts["mbedtls"] and "Loup Vaillant" in texts["monocypher"]


def test_an_image_built_from_it_is_that_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Word for word what a CI machine does that has Python and nothing else: no compiler is on its path."""
    program = installed_wheel.install(wheel, tmp_path / "venv")
    words = ["release", "build", "--board", "qemu_mps2", "--version", "1", "--sequence", "1"]
    images = []
    for name, source in (("installed", tmp_path / "mine"), ("checkout", ROOT)):
        if source != ROOT:
            source.mkdir()
            example = ROOT / "examples" / "vehicle-gateway"
            (source / "tidegate.toml").write_text((example / "tidegate.toml").read_text())
            (source / "app").symlink_to(example / "app")
        done = subprocess.run(
            [program, *words, "--source", source, "--out", tmp_path / name],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**installed_wheel.environment(program), "PATH": str(program.parent)},
        )
        assert done.returncode == 0, done.stderr
        assert "native modules: _bspatch, _ed25519" in done.stdout
        images.append(next((tmp_path / name / "p").iterdir()).read_bytes())
        if source != ROOT:
            assert f"Tidegate: {tmp_path / 'venv'}" in done.stdout
    assert romfs.files(images[0]) == romfs.files(images[1])
    assert images[0] == images[1]
