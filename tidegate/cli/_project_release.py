"""`tidegate release` without a verb: the project's next release, built, signed and verified, and published if asked."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tidegate import project as projects
from tidegate.cli._common import complain, confirm, connect, emit, has_token, progress, say, token_for
from tidegate.errors import TidegateError
from tidegate.files import called
from tidegate.project import Project, versions
from tidegate.release import (
    Release,
    build_release,
    fetch_releases,
    inspect_file,
    load_release,
    publish_release,
    sbom,
    sign_release,
    verify_release,
)
from tidegate.trust import keys
from tidegate.trust import store as stores


def release_project(
    *,
    version: str | None,
    sequence: int | None,
    key_file: Path | None,
    publish: bool,
    yes: bool,
    server: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Everything `tidegate release` does; the options are those of the command."""
    project = projects.find_project()
    version = version or versions.version_of(project)
    key = keys.load(_key_file(project, key_file))
    trust = stores.load(project.trust) if project.trust and project.trust.exists() else None
    server = server or project.server
    if publish and not server:
        raise TidegateError("there is no server to publish to", "Write url in [server], or give --server")
    if publish and server:
        token_for(server, token_file)  # its error before anything is made
    out = project.folder / versions.RELEASES / version
    if out.exists():
        raise TidegateError(
            f"{out} exists; a release is never changed",
            f"Raise version in tidegate.toml, or give --version. To publish that one: tidegate release publish {out}",
        )
    asked = server if server and has_token(server, token_file) else None
    if asked:
        _check_new(project.product, version, sequence, asked, token_file)
    previous, where = _previous(project, asked, token_file, trust)
    number = sequence or (previous[0].sequence + 1 if previous else 1)
    notes = [f"sequence {number}: {where}"]
    project.work.mkdir(exist_ok=True)
    # Aside: what is unsigned, or not what boards would take, never lies in releases/.
    with tempfile.TemporaryDirectory(prefix="release-", dir=project.work) as aside:
        staged = Path(aside) / version
        with called(staged, out):
            with progress("building", quiet=as_json) as tell:
                made = build_release(
                    project.sources,
                    staged,
                    board_names=project.boards,
                    version=version,
                    sequence=number,
                    previous=[release for release in previous if release.sequence < number],
                    product=project.product,
                    vendor=project.vendor,
                    progress=tell,
                    note=notes.append,
                )
            sign_release(made, [key])
            sbom.sign(made, [key])
            if trust:
                verify_release(load_release(staged), trust, previous)
                notes.append(f"verified against {project.trust}")
            else:
                notes.append("not verified: no trust store; name it in [keys] of tidegate.toml")
        out.parent.mkdir(exist_ok=True)
        staged.replace(out)
    if not as_json:
        say(f"sources: {project.sources.describe()}")
        for line in notes:
            say(line)
        say(f"{out}: {made.product} {made.version}, signed with {key.kid.hex()}")
    answer: dict[str, Any] = {"sequence": number, **inspect_file(out)}
    if publish and server:
        try:
            answer["published"] = _publish(project, load_release(out), server, token_file, yes, as_json)
        except BaseException:
            if not as_json:
                where = f" --channel {project.channel}" if project.channel else ""
                complain(f"It is signed, but perhaps not published. To go on: tidegate release publish {out}{where}")
            raise
    emit(answer, as_json, lambda _: None if publish else say(f"Publish it: tidegate release publish {out}"))


def _check_new(product: str, version: str, sequence: int | None, server: str, token_file: Path | None) -> None:
    """TidegateError if this version is published with another number: a clean checkout, as CI has, knows of none. One
    that was withdrawn may come again.
    """
    with connect(server, token_file) as api:
        found = api.fetch_releases(product, 1, version=version)
    if found and found[0]["sequence"] != sequence:
        raise TidegateError(
            f"{product} {version} is published on {server} already, as sequence {found[0]['sequence']}; "
            "a release is never changed",
            "Raise version in tidegate.toml, or give --version. To have what is published: "
            f"tidegate release fetch --version {version} --out FOLDER",
        )


def _key_file(project: Project, given: Path | None) -> Path:
    file = given or project.release_key
    if file is None:
        raise TidegateError("no key to sign with", "Write release in [keys] of tidegate.toml, or give --key")
    if not file.exists():
        raise TidegateError(
            f"release key {file} does not exist", f"Make it, once: tidegate key new --role release --out {file}"
        )
    return file


def _previous(
    project: Project, server: str | None, token_file: Path | None, trust: stores.TrustStore | None
) -> tuple[list[Release], str]:
    """Earlier releases, newest first, and where they are from: the server if it can be asked, else releases/."""
    if server:
        folder = project.work / "previous"
        shutil.rmtree(folder, ignore_errors=True)
        with connect(server, token_file) as api:
            found = fetch_releases(api, folder, product=project.product, last=versions.MOST_PREVIOUS, trust=trust)
        last = f"the last published on {server} is {found[0].sequence}" if found else f"the first on {server}"
        return found, last
    found = versions.local_releases(project)[: versions.MOST_PREVIOUS]
    if found:
        return found, f"the last in {versions.RELEASES}/ is {found[0].sequence}"
    asked = "no server was asked (--server and --token-file, or tidegate login)"
    return [], f"no earlier release in {versions.RELEASES}/, and {asked}"


def _publish(
    project: Project, made: Release, server: str, token_file: Path | None, yes: bool, as_json: bool
) -> dict[str, Any]:
    confirm(f"Publish {made.product} {made.version} on {server}?", yes, as_json)
    with connect(server, token_file) as api, progress("uploading", quiet=as_json) as tell:
        answer = publish_release(made, api, tell, project.channel)
    if not as_json:
        for warning in answer["warnings"]:
            say(f"Warning: {warning}")
        say(f"{made.product} {made.version} is published on {server}, channel {answer['channel']}")
    return answer
