"""Patches, messages and telemetry made by the host (tests/vectors/make_vectors.py), read by the device's libraries."""

import io
from binascii import unhexlify

import bspatch
import cbor
import senml_cbor
from check import equal, raises, vectors
from senml_cbor import reader

GROUNDS = ("cpython", "unix", "cortex-m3")


def test_patches():
    for entry in vectors("host_patches"):
        old, new = unhexlify(entry["old"]), unhexlify(entry["new"])
        stream = io.BytesIO(unhexlify(entry["patch"]))
        header = bspatch.header(stream)
        equal((header.old_size, header.new_size), (len(old), len(new)), entry["why"])
        made = bytearray()

        def read(offset, view, old=old):
            view[:] = old[offset : offset + len(view)]

        bspatch.apply(read, len(old), stream, made.extend, len(new), codec=header.codec)
        equal(bytes(made), new, entry["why"])


def test_messages_have_one_spelling():
    for entry in vectors("messages"):
        if "value" in entry:
            data = unhexlify(entry["message"])
            equal(cbor.dumps(cbor.loads(data)), data, entry["name"])


def test_telemetry():
    for entry in vectors("senml"):
        pack = unhexlify(entry["pack"])
        if "reason" in entry:
            raises(senml_cbor.SenmlError, reader.decode, pack)
        else:
            equal([record.name for record in reader.decode(pack)], [record["name"] for record in entry["records"]])
