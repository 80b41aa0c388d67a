#!/usr/bin/env python3
"""Sign a release where the release key is: a CI runner or an offline machine. Needs cbor2, pynacl, click and rich.

python tools/sign_release.py DIR --key FILE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from tidegate.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"sign_release: the Python package {error.name} is missing. Run `pip install .` in the project.")

main(["release", "sign", *sys.argv[1:]], prog_name="tidegate")
