"""An empty folder for a test, on every ground."""

import os

import check

_count = [0]


def folder():
    """A new empty folder's path."""
    _count[0] += 1
    place = "/scratch" if check.ground == "cortex-m3" else "/tmp/tidegate-%s" % check.ground
    place = check.settings.get("scratch", place)  # of this run alone, so that several may go on at once
    for path in (place, place + "/%d" % _count[0]):
        try:
            os.mkdir(path)
        except OSError:
            pass
    _empty(path)
    return path


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
