"""Fetches payloads: into one file, retried until the network is back, resumed where an earlier
attempt stopped, verified before anything parses a byte.
"""

import hashlib
import os

from gate import console
from gate.clock import const
from gate.update import failures, staged
from gate.update.failures import Failure

_BACKOFF_S = const(2)  # pause after a failed attempt, doubled each time
_QUICK = const(4)  # attempts in a row that bring less than _BUFFER: then the updater waits longer
_BUFFER = const(1024)  # bytes; for the network and for hashing
_SYNC = const(4096)  # bytes after which what arrived is made durable: a reset loses no more
_RESERVE = const(16384)  # bytes of the file system that stay free for the agent's own files
_ENOSPC = const(28)  # MicroPython's errno has no name for it
_GONE = (404, 410)
_BUSY = (429, 503)  # of a server that says when to come again
_ASKED_S = const(16)  # what it asks is waited for here; for longer the updater does it
_ANSWER_S = const(30)  # for a block over CoAP
_STATUS = {"changed": 416, "size": 416}  # of a CoAP error without a code
_NO_RESUME = (200, 206, 416)  # an answer, but not to a resumed request: from the start next time


class _Refused(Exception):
    """The server refuses. status: of HTTP, or the matching one of CoAP; asked_s: seconds that it
    asked to wait, of one that is busy.
    """

    def __init__(self, status, error, asked_s=None):
        super().__init__(str(error))
        self.status = status
        self.asked_s = asked_s if asked_s and status in _BUSY else 0


class Interrupted(Exception):
    """The connection failed; what arrived stays, and the same call resumes from there."""

    asked_s = 0


class Busy(Interrupted):
    """Another payload is being fetched."""


async def persist(staging, digest, size, progress, pause):
    """Staging.fetch, and again after a few seconds if the connection failed. pause(seconds):
    sleeps, and ends the waiting by raising. Raises Failure when there is no point in trying again
    soon.
    """
    pause_s = _BACKOFF_S
    mismatches = silent = 0
    most = staging.size(digest)  # bytes that were ever here: some answers cost what there was
    while True:
        try:
            return await staging.fetch(digest, size, progress)
        except Failure as failure:
            mismatches += 1
            # Once more from the start: an earlier attempt may have left wrong bytes.
            if failure.code != failures.PAYLOAD_DIGEST or mismatches > 1:
                raise
        except Busy:
            await pause(pause_s)
        except Interrupted as error:
            have = staging.size(digest)
            if have - most >= _BUFFER:
                silent, pause_s = 0, _BACKOFF_S
            most = max(most, have)
            silent += 1
            asked_s = error.asked_s
            if silent == _QUICK or asked_s > _ASKED_S:
                failure = Failure(failures.CONNECTION, "fetching the payload: %s" % error)
                failure.asked_s = asked_s
                raise failure
            asked_s = max(pause_s, asked_s)
            console.info("fetch interrupted: %s; again in %d s", error, asked_s)
            await pause(asked_s)
            pause_s *= 2


class Staging:
    """At most one payload in a folder, named by its digest."""

    def __init__(self, state, device):
        """state: gate.files.SmallFiles of the folder; device: gate.device.Device."""
        self._state = state
        self._device = device
        self._feed = device.feed
        self._buffer = bytearray(_BUFFER)

    async def fetch(self, digest, size, progress):
        """Returns the path of the file with the payload, complete and verified.

        digest: its SHA-256 and name; size: bytes; progress(done) is called as bytes arrive. Raises
        Interrupted, or Failure when there is no point in trying again.
        """
        if self._device.fetching:
            raise Busy
        self._device.fetching = True
        try:
            return await self._fetch(digest, size, progress)
        finally:
            self._device.fetching = False

    def size(self, digest):
        """Bytes of the payload that are here."""
        return self._state.size(staged.name(digest))

    async def _fetch(self, digest, size, progress):
        name = staged.name(digest)
        staged.forget(self._state, keep=name)
        have = self._state.size(name)
        if have > size:
            self._state.remove(name)
            have = 0
        self._check_space(size - have)
        if have < size:
            await self._get_rest(name, digest, have, size, progress)
        if self._digest(name) != digest:
            self._state.remove(name)
            raise Failure(
                failures.PAYLOAD_DIGEST, "what the server sent is not the announced payload"
            )
        return self._state.path(name)

    async def _get_rest(self, name, digest, have, size, progress):
        scheme, host, port, path = self._device.payloads
        path += "p/" + digest.hex()
        get = self._over_coap if scheme == "coap" else self._over_http
        try:
            with open(self._state.path(name), "ab") as file:
                take = _Sink(file, have, progress).take
                total = await get(host, port, path, have, take, size)
        except _Refused as error:
            if error.status in _GONE:
                raise Failure(failures.PAYLOAD_MISSING, "the server has no %s" % path)
            if error.status in _NO_RESUME:
                self._state.remove(name)
            interrupted = Interrupted(str(error))
            interrupted.asked_s = error.asked_s
            raise interrupted
        except OSError as error:
            code = failures.NO_SPACE if error.errno == _ENOSPC else failures.STORAGE
            raise Failure(code, "staging the payload: %r" % error)
        if total != size:
            self._state.remove(name)
            raise Failure(
                failures.PAYLOAD_DIGEST, "the payload has %d bytes, not %d" % (total, size)
            )

    async def _over_http(self, host, port, path, have, take, size):
        from http_client import get as http_client_get

        try:
            return await http_client_get.get(
                host, port, path, have, take, self._buffer, size, ssl=self._device.https
            )
        except http_client_get.HttpError as error:
            raise _Refused(error.status, error, error.retry_after)

    async def _over_coap(self, host, port, path, have, take, size):
        from coap import client

        try:
            return await client.fetch(host, port, path, have, take, self._buffer, size, _ANSWER_S)
        except client.CoapError as error:
            status = _STATUS.get(error.reason, error.code or 0)
            raise _Refused(status, error, error.retry_after)

    def _digest(self, name):
        check = hashlib.sha256()
        view = memoryview(self._buffer)
        with open(self._state.path(name), "rb") as file:
            while True:
                self._feed()
                count = file.readinto(self._buffer)
                if not count:
                    return check.digest()
                check.update(view[:count])

    def _check_space(self, size):
        if not hasattr(os, "statvfs"):
            return
        found = os.statvfs(self._state.folder)
        free = found[0] * found[3]
        if free < size + _RESERVE:
            console.error("%d bytes to stage, %d free", size, free)
            raise Failure(failures.NO_SPACE, "%d bytes to stage, %d free" % (size, free))


class _Sink:
    """Appends to the file and makes it durable every few kilobytes."""

    def __init__(self, file, done, progress):
        self._file = file
        self._progress = progress
        self._done = done
        self._synced = done

    def take(self, view):
        self._file.write(view)
        self._done += len(view)
        if self._done - self._synced >= _SYNC:
            self._file.flush()
            self._synced = self._done
        self._progress(self._done)
