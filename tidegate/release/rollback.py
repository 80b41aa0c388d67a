"""Publishes an old image again: the same bytes, signed under a newer sequence number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tidegate.files import new_folder, write_atomic
from tidegate.release.build import Note, check_previous, make_target
from tidegate.release.folder import INDEX, Release, check_identity, encode_index, load_release


def rollback_release(
    old: Release, out: Path, *, sequence: int, previous: Sequence[Release] = (), note: Note = lambda text: None
) -> Release:
    """Make the release `out` with the images of `old`, byte for byte, under the number `sequence`.

    Sequence numbers only rise on a device, so an old image needs a new number, and the releases in between are refused
    afterwards. `previous` are the releases that devices may run now, to make patches from, newest first.
    """
    check_identity(old.product, old.vendor, old.version, sequence)
    check_previous([old, *previous], old.product, old.vendor, sequence)
    with new_folder(out, "p") as scratch:
        owner = (old.product, old.vendor)
        targets = {
            board: replace(
                make_target(scratch, board, old.payload(target.digest), owner, previous, note),
                predecessor=target.predecessor,
                sources=target.sources,
            )
            for board, target in old.targets.items()
        }
        release = Release(scratch, *owner, old.version, sequence, targets, old.built_as, old.origin)
        write_atomic(scratch / INDEX, encode_index(release))
    return load_release(out)
