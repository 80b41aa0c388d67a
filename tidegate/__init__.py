"""Host library of Tidegate: keys, images, patches, manifests, commands and the client of the server."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: that takes its time, in which Ctrl-C would be a page of trace."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tidegate")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0+checkout"
