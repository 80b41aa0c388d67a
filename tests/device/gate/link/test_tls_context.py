"""What TLS makes of the files that were flashed, and what the board is told of the time."""

import ssl
from binascii import unhexlify

import check
import scratch
from check import equal, raises, true
from gate import ConfigError
from gate.link import tls

SERVICES = "tls_files.serve"
GROUNDS = ("unix", "cortex-m3")


class Board:
    def __init__(self):
        self.folder = scratch.folder()
        self.told = []

    def know_time(self, seconds):
        self.told.append(seconds)

    def put(self, name, data):
        scratch.write(self.folder + "/" + name, data)

    def kept(self):
        with open(self.folder + "/time") as file:
            return file.read()


class Clocked:
    """A board that has a clock is told nothing."""

    def __init__(self):
        self.folder = scratch.folder()


def made(name):
    text, piece = "", 0
    while name + str(piece) in check.settings:  # tls_files.py
        text += check.settings[name + str(piece)]
        piece += 1
    return unhexlify(text)


def refused(board, *words):
    error = str(raises(ConfigError, tls.context, board))
    for word in words:
        true(word in error, "%r in %r" % (word, error))
    true("\n" not in error, error)


def test_one_authority_or_several():
    board = Board()
    for name in ("ca", "both"):
        board.put("ca.der", made(name))
        equal(tls.context(board).verify_mode, ssl.CERT_REQUIRED)


def test_nobody_to_trust():
    refused(Board(), "ca.der", "missing", "--ca")


def test_an_authority_that_is_none():
    good = made("ca")
    for data in (b"0", b"rubbish", b"\x30\x82\xff\xff" + bytes(100), good[:-1], good + b"\x30\x82\x00", bytes(9000)):
        board = Board()
        board.put("ca.der", data)
        refused(board, "ca.der", "flash")


def test_an_own_certificate():
    board = Board()
    board.put("ca.der", made("ca"))
    board.put("client.der", made("client"))
    refused(board, "client.der", "--client-cert")
    board.put("client-key.der", b"rubbish")
    refused(board, "client.der", "--client-cert")
    board.put("client-key.der", made("key"))
    tls.context(board)


def test_the_time_that_was_flashed_is_told():
    board = Board()
    board.put("ca.der", made("ca"))
    tls.context(board)
    board.put("time", b"1795230000")
    tls.context(board)
    board.put("time", b"yesterday")
    tls.context(board)
    equal(board.told, [0, 1795230000, 0])


def test_a_later_time_is_kept_once_a_day():
    board = Board()
    board.put("time", b"1795230000")
    tls.know_time(board, 1795230000 + 86399)
    equal(board.kept(), "1795230000")
    tls.know_time(board, 1795230000 + 86400)
    equal(board.kept(), "1795316400")
    tls.know_time(board, 1795230000)
    equal(board.kept(), "1795316400")
    equal(len(board.told), 3)


def test_a_time_without_sense_is_not_told():
    board = Board()
    tls.know_time(board, 1 << 32)
    tls.know_time(board, 1 << 64)
    equal(board.told, [])
    raises(OSError, open, board.folder + "/time")


def test_a_board_with_a_clock():
    board = Clocked()
    tls.know_time(board, 1795230000)
    raises(OSError, open, board.folder + "/time")
