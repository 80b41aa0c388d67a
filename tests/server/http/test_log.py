"""The log is the server's own: nothing that others send begins a line in it, or reaches a terminal as it came."""

from __future__ import annotations

import io
import logging
import socket
import struct

import httpx
from server_process import eventually

from ota_server.log_lines import FORMAT, Formatter, escaped

EVIL = "x\nWARNING tidegate.auth: token 1 was revoked\r\x1b[2K\x00\x7f\x85\x9b31m\u2028\u2029\u202e\ud800\ufeff"


def test_every_foreign_character_is_escaped():
    assert escaped("Straße 日本 ok ' \" \\") == "Straße 日本 ok ' \" \\"
    text = escaped(EVIL)
    assert text.isprintable() and text.startswith("x\\nWARNING") and "\\x1b[2K" in text and "\\u2028\\u2029" in text
    text.encode()
    assert len(escaped("a" * 100_000)) < 5000


def test_records_arguments_and_tracebacks_are_lines_of_ours():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(FORMAT))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("a %s b", EVIL)
    try:
        try:
            raise ValueError(EVIL)
        except ValueError as error:
            raise RuntimeError(EVIL) from error
    except RuntimeError:
        logger.exception("failed: %s", EVIL, stack_info=True)
    lines = stream.getvalue().split("\n")
    assert lines.pop() == "" and all(line.isprintable() for line in lines)
    assert all(line.startswith("    ") or " test: " in line for line in lines)
    assert sum(" test: " in line for line in lines) == 2


def test_a_device_and_a_browser_write_no_line(start):
    server = start("--verbose")
    password = server.register("gate-1").encode()

    def text(value: bytes) -> bytes:
        return struct.pack(">H", len(value)) + value

    with socket.create_connection(("127.0.0.1", server.mqtt_port), 30) as sock:
        hello = text(b"MQTT") + b"\x04\xc2\0\x3c" + text(b"gate-1") + text(b"gate-1") + text(password)
        sock.sendall(b"\x10" + bytes([len(hello)]) + hello)
        assert sock.recv(4)[3] == 0
        topic = text(b"tg/x/\nFORGED one\x1b[2K\xe2\x80\xa8FORGED two")
        sock.sendall(b"\x30" + bytes([len(topic) + 1]) + topic + b"x")
        subscribe = b"\0\1" + text(b"tg/y/\nFORGED three") + b"\0"
        sock.sendall(b"\x82" + bytes([len(subscribe)]) + subscribe)
        assert sock.recv(5)[0] == 0x90
    for path in (
        "/api/v1/devices/%0AFORGED%20four",
        "/p/%0d%0aFORGED",
        "/%1b[2K%0aFORGED%00",
        "/api/v1/devices/%ed%a0%80%0aFORGED",
    ):
        httpx.get(server.url + path, headers={"User-Agent": "x\tFORGED"}, timeout=60)
    eventually(lambda: "may not subscribe" in server.log.read_text())
    server.stop()
    logged = server.log.read_bytes().decode()
    assert "FORGED" in logged and not [line for line in logged.splitlines() if line.startswith("FORGED")]
    assert all(line.isprintable() for line in logged.split("\n"))
