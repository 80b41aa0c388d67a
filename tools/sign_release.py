#!/usr/bin/env python3
"""Sign a release where the release key is: a CI runner or an offline machine.

Works in a checkout with any Python from 3.11 and two packages: python3 -m pip install 'cbor2>=5.7,<6' 'pynacl>=1.5,<2'
It needs neither a compiler nor the network. `tidegate release sign` does the same with all packages installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

NEEDED = {"cbor2": "cbor2>=5.7,<6", "nacl": "pynacl>=1.5,<2"}  # pyproject.toml has the same
EXAMPLES = """\
examples:
  python tools/sign_release.py releases/1.1.0 --key keys/release.jwk
  python tools/sign_release.py releases/1.1.0 --signer './sign-with-token.sh' --public keys/release.jwk.pub
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Sign the release in DIR: one manifest for each board. The key stays where it is.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--key", metavar="FILE", type=Path, action="append", default=[], help="release key; repeatable")
    parser.add_argument(
        "--signer", metavar="COMMAND", action="append", default=[], help="program that signs its standard input"
    )
    parser.add_argument(
        "--public", metavar="FILE", type=Path, action="append", default=[], help="the public key of --signer"
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    options = parser.parse_args()
    if len(options.signer) != len(options.public):
        parser.error("each --signer needs its --public, in the same order")
    if not options.key and not options.signer:
        parser.error("--key is missing, or --signer with --public")
    if sys.version_info < (3, 11):  # noqa: UP036
        return fail(f"Python {sys.version_info.major}.{sys.version_info.minor} is too old", "Use Python 3.11 or newer")
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        quoted = " ".join(f"'{package}'" for package in missing)
        return fail(f"packages are missing: {', '.join(missing)}", f"Run: {sys.executable} -m pip install {quoted}")
    return sign(options)


def sign(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tidegate.errors import TidegateError
    from tidegate.release import load_release, sign_release
    from tidegate.trust import external_signer, keys

    try:
        found = load_release(options.folder)
        by_program = [
            external_signer.external(keys.load(file), text)
            for text, file in zip(options.signer, options.public, strict=True)
        ]
        envelopes = sign_release(found, [*(keys.load(file) for file in options.key), *by_program])
    except TidegateError as error:
        return fail(error.message, error.remedy)
    signed = {
        board: {"manifest": found.targets[board].manifest, "size": len(data)} for board, data in envelopes.items()
    }
    if options.json:
        print(json.dumps(signed, indent=2))
        return 0
    for board, entry in signed.items():
        print(f"{board}: signed {options.folder / entry['manifest']}, {entry['size']} bytes")
    return 0


def fail(message: str, remedy: str) -> int:
    print(f"Error: {message}" + (f"\n  {remedy}." if remedy else ""), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
