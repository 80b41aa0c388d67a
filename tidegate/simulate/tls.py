"""TLS of simulated boards."""

from __future__ import annotations

import os
import ssl
from pathlib import Path


def client_context(ca: Path | None) -> ssl.SSLContext:
    """Trusts this authority, else the one that TIDEGATE_CA names, else the system's."""
    named = ca or os.environ.get("TIDEGATE_CA")
    return ssl.create_default_context(cafile=str(named) if named else None)
