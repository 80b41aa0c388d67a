"""Releases: a version for every board, as a folder that is built, signed, verified and published."""

from tidegate.release.build import build
from tidegate.release.fetch import fetch
from tidegate.release.folder import Release, Target, load
from tidegate.release.inspect import inspect
from tidegate.release.publish import plan, publish
from tidegate.release.reproduce import reproduce
from tidegate.release.rollback import rollback
from tidegate.release.sign import sign
from tidegate.release.verify import verify

__all__ = [
    "Release",
    "Target",
    "build",
    "fetch",
    "inspect",
    "load",
    "plan",
    "publish",
    "reproduce",
    "rollback",
    "sign",
    "verify",
]
