"""Drives headless Chromium over its debugging pipe: enough to open a page and ask it things."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import programs
from patience import limit

QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
# Without bars: one beside a page that just fits breaks its lines, and then it is needed. The page would have two looks.
PLAIN = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars")
ANSWER_S = limit(20)


class Browser:
    """One browser with one page. File descriptors 3 and 4 of the browser carry JSON messages that end in NUL."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="tidegate-browser-", ignore_cleanup_errors=True)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        command = [
            *(programs.require("chromium"), *PLAIN, *QUIET),
            *("--remote-debugging-pipe", f"--user-data-dir={self._profile.name}", "about:blank"),
        ]
        log = (Path(self._profile.name) / "log").open("wb")

        def place() -> None:
            """In the new process: the pipe's ends become 3 and 4, by way of numbers that are neither."""
            high_read, high_write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write))
            os.dup2(high_read, 3)
            os.dup2(high_write, 4)

        self._process = subprocess.Popen(command, preexec_fn=place, pass_fds=(3, 4), stdout=log, stderr=log)
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url="about:blank")  # else a new fragment would not load the page again
        self.complaints.clear()  # the page before may have polled a server that ended with its test
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """What a reader sees."""
        return self.ask("document.body ? document.body.innerText : ''") or ""

    def wait(self, words: str, timeout_s: float = 40) -> str:
        """The page's text once it contains `words`."""
        end = time.monotonic() + limit(timeout_s)
        while words not in (text := self.text()):
            if time.monotonic() > end:
                raise AssertionError(f"{words!r} is not on the page:\n{text}")
            time.sleep(0.1)
        return text

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end:
            answer = self._read()
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
        raise TimeoutError(method)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._in, 1 << 16)
            if not piece:
                raise RuntimeError("the browser is gone")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
