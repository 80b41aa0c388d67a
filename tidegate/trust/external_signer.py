"""Signing by another program, for keys that no file holds: a token, a secret store, a service.

The contract (docs/signing.md): the program gets the bytes to be signed on its standard input, to their end, and writes
the Ed25519 signature of exactly these bytes to its standard output: 64 bytes as they are, or as hex or base64 text.
Its standard error is shown. A signature counts only if the public key verifies it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import select
import shlex
import subprocess
import tempfile
import time

from tidegate.errors import TidegateError
from tidegate.trust.keys import Key
from tidegate.wire import cose

TIMEOUT_S = 120  # a person may have to touch a token first
MAX_ANSWER = 1024  # bytes; base64 of a signature has 88
KEY_VARIABLE = "TIDEGATE_KEY_ID"
_HEX = re.compile(r"[0-9a-fA-F]{128}\Z")
_CONTRACT = (
    "It must write an Ed25519 signature of its standard input, as 64 bytes, hex or base64: `tidegate docs signing`"
)


def external(public: Key, command: str, timeout_s: float = TIMEOUT_S) -> Key:
    """A key with the public half `public` whose signatures `command` makes.

    The command is a program and its arguments, quoted as for a shell; no shell runs it.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise TidegateError(f"the signer's command cannot be read: {error}", "Quote it as for a shell") from None
    if not words:
        raise TidegateError("the signer's command is empty", "Give --signer 'PROGRAM ARGUMENTS'")
    program = _Program(words, public, timeout_s)
    return Key(public.role, public.public, None, program.sign)


class _Program:
    def __init__(self, words: list[str], key: Key, timeout_s: float):
        self._words = words
        self._key = key
        self._timeout_s = timeout_s
        self._name = words[0]  # never the arguments: people put secrets there

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, verified."""
        signature = _read_signature(self._answer(message), self._name)
        if not cose.Signature(self._key.kid, message, signature).by(self._key.public):
            raise TidegateError(
                f"what the signer {self._name} wrote is not a signature by key {self._key.kid.hex()}",
                "Does --public belong to its key, and does it sign the bytes themselves (Ed25519, not Ed25519ph)?",
            )
        return signature

    def _answer(self, message: bytes) -> bytes:
        with tempfile.TemporaryFile() as file:  # not a pipe: openssl needs to know its input's size
            file.write(message)
            file.seek(0)
            try:
                process = subprocess.Popen(
                    self._words,
                    stdin=file,
                    stdout=subprocess.PIPE,
                    env={**os.environ, KEY_VARIABLE: self._key.kid.hex()},
                )
            except OSError as error:
                raise TidegateError(
                    f"the signer {self._name} cannot be run: {error.strerror}",
                    "Name a program on PATH or by its path; a shell's own words do not work",
                ) from error
            with process:
                try:
                    return self._read(process)
                finally:
                    process.kill()

    def _read(self, process: subprocess.Popen[bytes]) -> bytes:
        end = time.monotonic() + self._timeout_s
        stdout = process.stdout
        if stdout is None:
            raise TidegateError("the signer has no output pipe")
        answer = b""
        while True:
            ready, _, _ = select.select([stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TidegateError(
                    f"the signer {self._name} did not answer in {self._timeout_s:g} s", "Run it by hand: does it wait?"
                )
            piece = os.read(stdout.fileno(), MAX_ANSWER)
            answer += piece
            if len(answer) > MAX_ANSWER:
                raise TidegateError(f"the signer {self._name} writes more than {MAX_ANSWER} bytes", _CONTRACT)
            if not piece:
                break
        try:
            code = process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TidegateError(f"the signer {self._name} does not end after its answer", _CONTRACT) from None
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
            raise TidegateError(f"the signer {self._name} {how}", "Its own message is above; nothing was signed")
        return answer


def _read_signature(answer: bytes, name: str) -> bytes:
    if len(answer) == cose.SIGNATURE_SIZE:
        return answer
    text = b"".join(answer.split()).decode("ascii", "replace")
    if _HEX.match(text):
        return bytes.fromhex(text)
    with contextlib.suppress(binascii.Error, ValueError):
        plain = text.replace("-", "+").replace("_", "/").rstrip("=")
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        if len(data) == cose.SIGNATURE_SIZE:
            return data
    raise TidegateError(f"the signer {name} wrote {len(answer)} bytes, which are not a signature", _CONTRACT)
