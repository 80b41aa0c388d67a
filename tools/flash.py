#!/usr/bin/env python3
"""Flash a board over its serial port, for benches without the installed command.

python tools/flash.py PORT --board BOARD --release DIR --trust FILE --config FILE --credentials FILE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from tidegate.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"flash: the Python package {error.name} is missing. Run `pip install .` in the project.")

main(["flash", *sys.argv[1:]], prog_name="flash.py")
