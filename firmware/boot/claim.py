"""For the person at the REPL: the claim that makes this board a device (docs/enrolment.md).

    from boot import claim
    claim.put("tgc1_...")

The agent sends it to the server at the next start, and removes it after enrolment.
"""

import os

FILE = "/claim"  # in the board's folder
_PARTS = ((5, 21, "0123456789abcdef"), (66, 98, "0123456789abcdef"))
_SIZE = 98
_DEVICE = "abcdefghijklmnopqrstuvwxyz0123456789-"
_SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def put(text, folder=None):
    """Stores the claim on the board, replacing any other. Raises ValueError if it is malformed."""
    text = text.strip()
    if not _is_claim(text):
        raise ValueError(
            "not a claim: one begins with tgc1_ and has 98 characters or more; copy all of it"
        )
    path = _folder(folder) + FILE
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)
    print("claim %s is on the board; reset it to enrol" % text[5:21])


def drop(folder=None):
    """Removes the claim, if there is one."""
    try:
        os.remove(_folder(folder) + FILE)
    except OSError:
        pass


def _folder(folder):
    if folder is None:
        from boot.board import Board

        folder = Board.folder
    return folder


def _is_claim(text):
    if len(text) < _SIZE or text[:5] != "tgc1_" or text[21] != "_" or text[65] != "_":
        return False
    device = text[_SIZE:]  # "_" and the id of the only device that it is for
    if device and (device[0] != "_" or not 1 < len(device) <= 33):
        return False
    if any(char not in _DEVICE for char in device[1:]):
        return False
    if any(char not in chars for start, end, chars in _PARTS for char in text[start:end]):
        return False
    return not any(char not in _SECRET for char in text[22:65])
