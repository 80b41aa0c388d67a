"""Releases: a version for every board, as a folder that is built, signed, verified and published.

A release of data, one file without an image, is `tidegate.release.data_release`.
"""

from tidegate.release.build import build_release
from tidegate.release.fetch import fetch_releases
from tidegate.release.folder import Patch, Release, Target, load_release
from tidegate.release.inspect import inspect_file
from tidegate.release.publish import plan_release, publish_release
from tidegate.release.reproduce import reproduce_release
from tidegate.release.rollback import rollback_release
from tidegate.release.sign import sign_release
from tidegate.release.verify import verify_release

__all__ = [
    "Patch",
    "Release",
    "Target",
    "build_release",
    "fetch_releases",
    "inspect_file",
    "load_release",
    "plan_release",
    "publish_release",
    "reproduce_release",
    "rollback_release",
    "sign_release",
    "verify_release",
]
