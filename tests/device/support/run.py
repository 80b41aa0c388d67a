"""Runs one device test script: `run.py SCRIPT [GROUND [KEY=VALUE...]]`, as in `run.py libraries/test_coap`.

Prints one line for each test function of tests/device/SCRIPT.py: "ok NAME", "FAIL NAME WHY" or "skip NAME WHY";
exit code 1 if any failed. The same file runs on CPython, on the unix port and, imported, on the board.
"""

import gc
import sys


def main(script, root, ground, given):
    """Returns the number of failures. given: {str: str}, see check.settings."""
    room, name = script.rsplit("/", 1)
    for folder in ("/tests/device/support", "/tests/device/" + room, "/firmware", "/firmware/lib"):
        sys.path.insert(0, root + folder)
    sys.path.append(root + "/boards/modules")  # last: for a MicroPython that has not frozen them
    import check

    check.place(root, ground, given)
    failed = 0
    module = __import__(name)
    # MicroPython's module dict has no source order; names are sorted so that every ground runs the same order.
    for name in sorted(dir(module)):
        if not name.startswith("test_"):
            continue
        gc.collect()
        try:
            getattr(module, name)()
            print("ok", name)
        except check.Skip as why:
            print("skip", name, why)
        except Exception as error:
            failed += 1
            print("FAIL", name, check.where(error))
    return failed


if __name__ == "__main__":
    here = __file__[: __file__.rfind("/")] if "/" in __file__ else "."
    if len(sys.argv) < 2:
        raise SystemExit("usage: run.py SCRIPT [GROUND [KEY=VALUE...]]")
    default = "unix" if sys.implementation.name == "micropython" else "cpython"
    ground = sys.argv[2] if len(sys.argv) > 2 else default
    given = dict(item.split("=", 1) for item in sys.argv[3:])
    raise SystemExit(1 if main(sys.argv[1], here + "/../../..", ground, given) else 0)
