"""Output goes where it was named and destroys nothing there (tidegate/files.py), from every tool."""

from __future__ import annotations

import ast
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from projects import ROOT

from tidegate.errors import TidegateError
from tidegate.files import check_folder, write_atomic

# What writes in other ways, and why that is right.
OTHERS = {
    "tidegate/files.py": "the writer",
    "tidegate/audit_chain.py": "adds lines to a witness, which is never replaced",
    "tidegate/boards/emulator.py": "the flash of the emulated board, which is made and locked there",
    "tidegate/dev/boards.py": "the log of a board at a port, which is added to",
    "tidegate/dev/mapped_folder.py": "the flash of an emulated board, in place: QEMU has that file mapped",
    "tidegate/dev/processes.py": "the log of a child process, which is added to",
    "tidegate/flash/folder_session.py": "a lock",
    "tidegate/flash/serial_session.py": "files on a board",
    "tidegate/flash/loader_image.py": "files on a board",
    "tidegate/commands/cwt.py": "a lock",
    "tidegate/image/build.py": "its own scratch folder",
    "ota_server/backup/archive.py": "a file in the restore's own scratch folder",
    "ota_server/backup/create.py": "a backup larger than memory, renamed to a name that did not exist",
    "ota_server/backup/move.py": "sets the database aside that was moved",
    "ota_server/backup/restore.py": "files into a data folder that was empty",
    "ota_server/data_folder.py": "a lock",
    "ota_server/releases/payload_folder.py": "the payload store, named by digest",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("far/file")
    (tmp_path / "chain").symlink_to("link")
    write_atomic(tmp_path / "chain", b"new")
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert (tmp_path / "chain").is_symlink() and (tmp_path / "link").is_symlink()
    assert names(tmp_path / "far") == ["file"]


def test_a_link_to_nothing_makes_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("made")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "made").read_bytes() == b"new"


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_folder(tmp_path / "pipe")
    write_atomic(tmp_path / "pipe", b"x" * 200_000, mode=0o600)
    reader.join(30)
    assert got == [b"x" * 200_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    write_atomic(tmp_path / "null", b"gone")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode) and (tmp_path / "null").is_symlink()
    with pytest.raises(TidegateError, match=r"No space left"):
        write_atomic("/dev/full", b"x")


def test_a_terminal_is_written_to() -> None:
    ours, theirs = os.openpty()
    write_atomic(os.ttyname(theirs), b"hello\n")
    assert os.read(ours, 100).startswith(b"hello")
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("where", ["> out", "| cat > out", ">> out"])
def test_the_standard_output_is_what_the_shell_made_of_it(tmp_path: Path, where: str) -> None:
    code = "from tidegate.files import write_atomic as write; print('a', flush=True); write('/dev/stdout', b'b\\n')"
    code += "; print('c')"
    command = ["sh", "-c", f'{sys.executable} -c "{code}" {where}']
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "out").read_bytes() == b"a\nb\nc\n"
    assert names(tmp_path) == ["out"]


def test_sockets_and_folders_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, why in (("socket", "a socket or a disk"), ("", "is a folder")):
            with pytest.raises(TidegateError, match=why):
                write_atomic(tmp_path / name, b"x")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)


def test_the_mode_stays_but_a_secret_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    file.chmod(0o640)
    write_atomic(file, b"x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    write_atomic(file, b"secret", mode=0o600)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    write_atomic(tmp_path / "new", b"x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "name", ["with space", "quote's \"", "new\nline", "x" * 250, os.fsdecode(b"\xff\xfe"), "-o", "é"]
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    check_folder(tmp_path / name)
    write_atomic(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("path", ["missing/file", "file/below", "x" * 300, "loop"])
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TidegateError) as caught:
        write_atomic(tmp_path / path, b"x")
    assert caught.value.remedy and "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "loop"]


def test_a_write_protected_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    with pytest.raises(TidegateError, match="write-protected"):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_no_tool_writes_in_another_way() -> None:
    found = {}
    for folder in ("tidegate", "ota_server"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and _writes(call):
                    found.setdefault(str(path.relative_to(ROOT)), []).append(call.lineno)
    found = {name: lines for name, lines in found.items() if "/migrations/" not in name and name not in OTHERS}
    assert not found, "use tidegate.files.write_atomic"


def _writes(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("write_bytes", "write_text", "mkstemp", "NamedTemporaryFile", "rename"):
        return True
    modes = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return name == "open" and any(set(mode) <= set("rwxab+t") and set(mode) & set("wxa+") for mode in modes)
