"""Libraries of others: what a project requires, pinned in tidegate.lock, in a cache, and from there in its images."""

from tidegate.libraries.held import files, fitting, local_folders, lock, ready
from tidegate.libraries.lockfile import LOCK, LibraryError
from tidegate.libraries.requirement import Requirement

__all__ = ["LOCK", "LibraryError", "Requirement", "files", "fitting", "local_folders", "lock", "ready"]
