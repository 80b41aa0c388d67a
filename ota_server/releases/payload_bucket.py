"""Payloads in an S3-compatible store, and a bounded cache of them on this machine.

What boards get comes from the cache, into which nothing comes unless it has the digest that it is named by. So Range is
answered from a file, a store that is slow or lies is met once a payload and server, and one that is away is not missed
for what is here. Address, region and credentials of the store are boto3's business: its environment and files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ota_server.errors import Problem, Unavailable, Unprocessable
from ota_server.releases.payload_folder import FolderPayloads
from ota_server.releases.payloads import PIECE, Payloads, check_name, damaged, file_of, missing, place_of
from tidegate.errors import TidegateError

log = logging.getLogger("tidegate.payloads")

CACHE_BYTES = 512 << 20
CONNECT_S = 3
ANSWER_S = 5  # between two pieces, too
FETCH_S = 30  # for a whole payload
TURNS = 4  # requests that may wait for the store at once; half of the threads that answer HTTP
TURN_S = 1  # how long another waits for its turn
REST_S = 5  # after a failure nobody is made to wait for the next one
LINK_S = 900  # a signed address is good for so long: a slow board's download, and its clock does not matter
_MOST_KNOWN = 10_000
_ABSENT = ("404", "NoSuchKey", "NotFound")
_DENIED = "payload-store-denied"


class BucketPayloads(Payloads):
    """Payloads at s3://bucket/prefix. TidegateError for an address that is not of that form, or without boto3."""

    def __init__(
        self, url: str, cache: Path, max_size: int, signs: bool = False, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """signs: `redirect` gives addresses that the store signed."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or "?" in url or "@" in url:
            raise TidegateError(f"{url!r} is not the address of a bucket", "Write it like s3://BUCKET/PREFIX")
        self.max_size = max_size
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/".lstrip("/")
        self._cache = FolderPayloads(cache, max_size)
        self._cache_bytes = cache_bytes
        self._signs = signs
        self._s3, self._errors = _client()
        self._turns = threading.BoundedSemaphore(TURNS)
        self._resting_until = 0.0
        self._locks = [threading.Lock() for _ in range(64)]
        self._known: dict[str, None] = {}  # names that the store had

    def check(self) -> None:
        """Whether the store lets us in. TidegateError if not, Unavailable if it does not answer."""
        try:
            with self._asking():
                self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except Unavailable as error:
            if error.kind == _DENIED:
                raise TidegateError(error.detail, error.remedy) from error
            raise

    def has(self, name: str) -> bool:
        place = self._place(name)
        try:
            with self._asking():
                self._s3.head_object(Bucket=self._bucket, Key=place)
        except _Absent:
            self._known.pop(name, None)
            return False
        return True

    def open(self, name: str) -> BinaryIO:
        check_name(name)
        with contextlib.suppress(Problem):
            return self._cached(name)
        with self._turn(), self._locks[int(name[:2], 16) % len(self._locks)]:
            with contextlib.suppress(Problem):
                return self._cached(name)  # another thread was faster
            try:
                self._cache.store(name, _Stream(self._pieces(name)))  # type: ignore[arg-type]
            except Unprocessable as error:
                log.error("%s: %s", self.where(name), error.detail)
                raise damaged(name) from error
            self._bound_cache(name)
            return self._cache.open(name)

    def pieces(self, name: str) -> Iterator[bytes]:
        with self._turn():
            yield from self._pieces(name)

    def store(self, name: str, stream: BinaryIO) -> int:
        """The store gets an MD5 with the bytes, as every such store compares it: half an object is none."""
        size = self._cache.store(name, stream)
        try:
            with self._cache.open(name) as file:
                check = base64.b64encode(hashlib.md5(file.read(), usedforsecurity=False).digest()).decode()
                file.seek(0)
                with self._asking():
                    self._s3.put_object(
                        Bucket=self._bucket,
                        Key=self._place(name),
                        Body=file,
                        ContentLength=size,
                        ContentMD5=check,
                        ContentType="application/octet-stream",
                        CacheControl="public, max-age=31536000, immutable",
                    )
        except BaseException:
            self._cache.remove(name)
            raise
        self._bound_cache(name)
        return size

    def names(self) -> Iterator[str]:
        with self._asking():
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
                for one in page.get("Contents", []):
                    yield one["Key"].rpartition("/")[2]

    def where(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._place(name)}"

    def redirect(self, name: str) -> str | None:
        if not self._signs:
            return None
        if name not in self._known:
            if not self.has(name):
                raise missing(name)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[name] = None
        params = {"Bucket": self._bucket, "Key": self._place(name)}
        return str(self._s3.generate_presigned_url("get_object", Params=params, ExpiresIn=LINK_S))

    # ---- the store

    def _place(self, name: str) -> str:
        return self._prefix + place_of(name)

    def _pieces(self, name: str) -> Iterator[bytes]:
        place, began, size = self._place(name), time.monotonic(), 0
        try:
            with self._failures():
                answer = self._s3.get_object(Bucket=self._bucket, Key=place)
                with contextlib.closing(answer["Body"]) as body:
                    while size <= self.max_size and (piece := body.read(PIECE)):
                        if time.monotonic() - began > FETCH_S:
                            raise TimeoutError(f"{size} bytes in {FETCH_S} s")
                        size += len(piece)
                        yield piece
        except _Absent:
            raise missing(name) from None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        with self._turn(), self._failures():
            yield

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """So that a slow store never takes all threads of the server."""
        if time.monotonic() < self._resting_until:
            raise _away("it did not answer a moment ago")
        if not self._turns.acquire(timeout=TURN_S):
            raise _away("others wait for it already")
        try:
            yield
        finally:
            self._turns.release()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """What boto3 says, as problems of ours."""
        try:
            yield
        except self._errors.ClientError as error:
            code, about = str(error.response.get("Error", {}).get("Code", "")), error.response["ResponseMetadata"]
            if code in _ABSENT:
                raise _Absent("no-such-payload", "it is not in the bucket") from error
            if about.get("HTTPStatusCode") in (301, 400, 401, 403, 404):
                log.error("s3://%s: %s", self._bucket, error)
                raise Unavailable(
                    _DENIED,
                    f"the payload store refuses this server: {code}",
                    "Check bucket, region, credentials and their rights (GetObject, PutObject, ListBucket)",
                ) from error
            raise self._failed(error) from error
        except (self._errors.BotoCoreError, OSError) as error:
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
                raise Unavailable(
                    _DENIED,
                    f"there are no credentials for the payload store: {error}",
                    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write boto3's files in ~/.aws",
                ) from error
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Problem:
        self._resting_until = time.monotonic() + REST_S
        log.warning("the payload store s3://%s failed: %s", self._bucket, error)
        return _away(type(error).__name__)

    # ---- the cache

    def _cached(self, name: str) -> BinaryIO:
        file = self._cache.open(name)
        with contextlib.suppress(OSError):
            os.utime(file.fileno())  # so that what is read most stays
        return file

    def _bound_cache(self, newest: str) -> None:
        """Remove what was not read for longest, if there is too much."""
        files = []
        for name in self._cache.names():
            with contextlib.suppress(OSError):
                found = file_of(self._cache.folder, name).stat()
                files.append((found.st_mtime, name, found.st_size))
        too_much = sum(size for _, _, size in files) - self._cache_bytes
        for _, name, size in sorted(files):
            if too_much <= 0:
                break
            if name != newest:
                self._cache.remove(name)
                too_much -= size


class _Absent(Problem):
    """The store has no such object."""


class _Stream:
    """Pieces as a stream that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        return next(self._pieces, b"")


def _away(why: str) -> Unavailable:
    return Unavailable("payload-store-away", f"the payload store does not answer: {why}", "Try again in a few seconds")


def _client() -> tuple[Any, Any]:
    """boto3's client, and the module with its errors."""
    try:
        import boto3
        import botocore.config
        import botocore.exceptions
    except ImportError as error:
        raise TidegateError("payloads in s3:// need boto3", "Install it: pip install 'tidegate[s3]'") from error
    settings = botocore.config.Config(
        connect_timeout=CONNECT_S,
        read_timeout=ANSWER_S,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=TURNS,
        signature_version="s3v4",  # for signed addresses boto3 still takes an older one
        # Stores by others know neither of the newer checksums; bodies are checked by MD5 and by our own digest.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.client("s3", config=settings), botocore.exceptions
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise TidegateError(f"boto3 cannot be set up: {error}", "Check AWS_... variables and ~/.aws/config") from error
