"""Bytes of an image by folder and file, and what changed against another."""

from __future__ import annotations

from tidegate.image import contents, pack


def test_folders_come_before_what_is_in_them_and_the_larger_first() -> None:
    image = pack({"lib": {"gate": {"a.mpy": b"x" * 5}, "cose.mpy": b"x" * 9}, "app": {"b.mpy": b"x" * 20}})
    assert list(contents.sizes(image).items()) == [
        ("app/", 20),
        ("app/b.mpy", 20),
        ("lib/", 14),
        ("lib/cose.mpy", 9),
        ("lib/gate/", 5),
        ("lib/gate/a.mpy", 5),
    ]


def test_what_is_gone_is_told_once() -> None:
    before = pack({"lib": {"coap": {"a.mpy": b"x" * 5, "b.mpy": b"x" * 6}, "cose.mpy": b"x" * 9, "x.mpy": b"x"}})
    after = pack({"lib": {"cose.mpy": b"x" * 7, "new.mpy": b"x" * 3}})
    assert contents.compare(after, before) == {
        "lib/": (10, -11),
        "lib/cose.mpy": (7, -2),
        "lib/new.mpy": (3, 3),
        "lib/coap/": (0, -11),
        "lib/x.mpy": (0, -1),
    }
    assert contents.compare(after, None)["lib/cose.mpy"] == (7, None)
