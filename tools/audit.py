#!/usr/bin/env python3
"""Known faults of the packages in this environment, by pip-audit, which asks the advisory databases of PyPI and OSV.

    python tools/audit.py [--service pypi|osv]

Exit code 0: none is known; 1: the packages and advisories are listed; 2: neither database could be asked (no network,
or an index that has no advisories, or hardly any of the packages), so nothing is known. The project's own package is
left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

SERVICES = ("pypi", "osv")  # what is asked, the next one if it cannot be reached
TIMEOUT_S = 30  # a request
OWN = "tidegate"
NONE, FOUND, UNKNOWN = 0, 1, 2


def ask(service: str) -> tuple[list[dict[str, Any]] | None, str]:
    """(packages as pip-audit lists them, or None if the service gave no answer, why)."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner=off"]
    command += ["--format=json", f"--vulnerability-service={service}", f"--timeout={TIMEOUT_S}"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError, TypeError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return None, lines[-1].strip() if lines else f"exit code {done.returncode}"


def report(packages: list[dict[str, Any]], service: str) -> int:
    """Prints what is known about them; the exit code."""
    asked = [one for one in packages if "vulns" in one and one["name"] != OWN]
    skipped = [one for one in packages if "skip_reason" in one and one["name"] != OWN]
    found = [(one, fault) for one in asked for fault in one["vulns"]]
    for one, fault in found:
        fixed = ", ".join(fault.get("fix_versions") or ()) or "no version yet"
        also = ", ".join(fault.get("aliases") or ())
        print(f"{one['name']} {one['version']}: {fault['id']} ({also}), mended in {fixed}")
    if skipped:
        print("not asked about: " + ", ".join(f"{one['name']} {one.get('version', '')}".strip() for one in skipped))
    if len(asked) < len(skipped):
        print(f"audit: {service} knows only {len(asked)} of {len(asked) + len(skipped)} packages", file=sys.stderr)
        return FOUND if found else UNKNOWN
    print(f"audit: {len(asked)} packages, {len(found)} known faults ({service})")
    return FOUND if found else NONE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", choices=SERVICES, help="ask only this database")
    asked = parser.parse_args()
    for service in (asked.service,) if asked.service else SERVICES:
        packages, why = ask(service)
        code = report(packages, service) if packages else UNKNOWN
        if code != UNKNOWN:
            return code
        if not packages:
            print(f"audit: {service} cannot be asked: {why or 'no answer'}", file=sys.stderr)
    print("audit: nothing is known about the packages; try again where there is a network", file=sys.stderr)
    return UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
