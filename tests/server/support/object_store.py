"""A store that speaks S3 over HTTP (moto's), behind a relay that can stall it or cut its answers off."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "releases"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class ObjectStore:
    """mode: "pass"; "stall": connections are taken and nothing is answered; "away": they are closed at once;
    "cut": an answer ends after 20,000 bytes."""

    def __init__(self) -> None:
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self._port = self._moto.get_host_and_port()[1]
        self.mode = "pass"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        self.s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="eu-central-1",
        )
        self.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}, ACL="public-read"
        )

    @property
    def env(self) -> dict[str, str]:
        """For a server that uses it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": self.url}

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for one in listed.get("Contents", [])]

    def replace(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    def close(self) -> None:
        self._listener.close()
        self._moto.stop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                if self.mode == "away":
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        store = socket.create_connection(("127.0.0.1", self._port))
        threading.Thread(target=self._pass, args=(client, store, False), daemon=True).start()
        self._pass(store, client, True)

    def _pass(self, source: Any, sink: Any, is_answer: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if is_answer and self.mode == "stall":
                    continue
                if is_answer and self.mode == "cut" and passed > 20_000:
                    break
                sink.sendall(data)
                passed += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
