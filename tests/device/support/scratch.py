"""An empty folder for a test, on every ground."""

import os

import check

_count = [0]


def folder():
    """A new empty folder's path."""
    place = "/scratch" if check.ground == "cortex-m3" else "/tmp/tidegate-%s" % check.ground
    place = check.settings.get("scratch", place)  # of this run alone, so that several may go on at once
    _make(place)
    if not _count[0] and check.ground == "cortex-m3":
        _empty(place)  # what other scripts left would fill the board's flash
    _count[0] += 1
    path = place + "/%d" % _count[0]
    _make(path)
    _empty(path)
    return path


def _make(path):
    try:
        os.mkdir(path)
    except OSError:
        pass


def _empty(path):
    for name in os.listdir(path):
        inner = path + "/" + name
        try:
            os.remove(inner)
        except OSError:
            _empty(inner)
            os.rmdir(inner)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
