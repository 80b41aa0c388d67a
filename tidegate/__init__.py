"""Host library of Tidegate: keys, images, patches, manifests, commands and the client of the server."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tidegate")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+checkout"
