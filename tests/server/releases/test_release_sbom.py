"""Bills of materials on the server: taken with a release, once, if its keys signed them, and served to who reads."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys

import pytest
from patience import limit

from tidegate.client.server import Server
from tidegate.files import write_atomic
from tidegate.image import Identity, pack
from tidegate.release import load_release, publish_release, sbom, sign_release
from tidegate.release.folder import INDEX, Release, Target, encode_index
from tidegate.trust import keys

PRODUCT, VERSION, SEQUENCE = "bill-product", "1.0.0", 1
ADDRESS = f"/api/v1/releases/{PRODUCT}/{VERSION}/sbom"


@pytest.fixture(scope="module")
def release(shared, ring, tmp_path_factory) -> Release:
    """A signed release that was published with its SBOM."""
    folder = tmp_path_factory.mktemp("bill")
    image = pack({"app": {"main.mpy": b"main"}, "release.json": Identity(PRODUCT, VERSION, SEQUENCE, "unix").encode()})
    digest = hashlib.sha256(image).hexdigest()
    (folder / "p").mkdir()
    write_atomic(folder / "p" / digest, image)
    target = Target("unix", digest, len(image), (), "unix.suit", "00" * 16)
    write_atomic(
        folder / INDEX, encode_index(Release(folder, PRODUCT, "tidegate.example", VERSION, SEQUENCE, {"unix": target}))
    )
    made = load_release(folder)
    sign_release(made, [ring.release])
    sbom.sign(made, [ring.release])
    with Server(shared.url, shared.token) as api:
        for _ in range(2):  # again is harmless
            assert publish_release(made, api)["warnings"] == []
    return made


def body(document: bytes, signature: bytes) -> dict[str, str]:
    encoded = {"document": document, "signature": signature}
    return {name: base64.b64encode(data).decode() for name, data in encoded.items()}


def test_who_reads_gets_the_very_bytes(shared, ring, release, tmp_path):
    answer = shared.http.get(ADDRESS, headers=shared.token_for("read")).json()
    stored = sbom.stored(release)
    assert (base64.b64decode(answer["document"]), base64.b64decode(answer["signature"])) == stored
    command = [sys.executable, "-m", "ota_server", "release", "sbom", VERSION, "--product", PRODUCT]
    command += ["--server", shared.url, "--trust", str(ring.trust), "--out", str(tmp_path / "bill.json")]
    env = {**os.environ, "TIDEGATE_TOKEN_FILE": str(shared.data / "admin.token")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=limit(60))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bill.json").read_bytes() == stored[0]
    shown = subprocess.run([*command[:-2], "--json"], capture_output=True, text=True, env=env, timeout=limit(60))
    assert json.loads(shown.stdout)["sbom"] == json.loads(stored[0]), shown.stderr


def test_what_no_release_key_signed_and_another_one_are_refused(shared, ring, release, tmp_path):
    document, signature = sbom.stored(release)
    changed = document.replace(b"main.mpy", b"mine.mpy")
    answer = shared.http.put(ADDRESS, json=body(changed, signature))
    assert answer.status_code == 422 and "not the one that was signed" in answer.json()["detail"]
    sbom.sign(release, [keys.new("release")])
    assert shared.http.put(ADDRESS, json=body(*sbom.stored(release))).status_code == 422
    sbom.sign(release, [ring.release])
    audited = [one["action"] for one in shared.api("GET", "/audit", params={"limit": 500})["entries"]]
    assert audited.count("release.sbom") == 1
    elsewhere = shared.http.put(ADDRESS.replace(VERSION, "9.9.9"), json=body(document, signature))
    assert elsewhere.status_code == 404
    assert shared.http.get(ADDRESS.replace(VERSION, "9.9.9")).status_code == 404


def test_a_token_of_another_channel_may_not(shared, release):
    token = shared.cli("token", "new", "--scope", "publish", "--channel", "nightly").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = shared.http.put(ADDRESS, json=body(*sbom.stored(release)), headers=headers)
    assert answer.status_code == 403 and "nightly" not in answer.json()["detail"]
