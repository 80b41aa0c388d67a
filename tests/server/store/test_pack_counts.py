"""The numbers of filed packs: as a set would hold them, as far back as they are remembered."""

from __future__ import annotations

import random

import pytest

from ota_server.store.pack_counts import WINDOW, PackCounts


@pytest.mark.parametrize("seed", range(20))
def test_they_answer_as_a_set_does(seed):
    dice, counts, filed, newest = random.Random(seed), PackCounts(), set(), 5000
    for _ in range(3000):
        number = newest - dice.randrange(WINDOW)
        if dice.random() < 0.8:
            number = newest = newest + dice.choice([1, 1, 1, 2, 7, 40])
        counts.add(number)
        filed.add(number)
        if dice.random() < 0.05:
            counts = PackCounts(counts.encode())
    newest = max(filed)
    for number in range(newest - WINDOW + 1, newest + 10):
        assert (number in counts) == (number in filed), number
    assert newest - WINDOW not in counts, "no further back"


def test_the_count_of_the_boot_before_is_remembered_and_no_older_one():
    counts = PackCounts()
    for begin in (10_000_000, 20_000_000, 30_000_000):
        for number in range(begin, begin + 10):
            counts.add(number)
    assert 30_000_009 in counts and 20_000_009 in counts and 10_000_009 not in counts


def test_what_comes_again_from_the_boot_before_does_not_end_it():
    counts = PackCounts()
    for number in (10, 11, 900_000, 900_001, 12, 900_002, 13):
        counts.add(number)
    assert all(number in counts for number in (10, 11, 12, 13, 900_000, 900_001, 900_002)) and 14 not in counts


@pytest.mark.parametrize("number", [0, 1, 2**32 - 1, 2**53])
def test_any_number_can_be_stored(number):
    counts = PackCounts()
    counts.add(number)
    assert number in PackCounts(counts.encode())
    assert number + 1 not in counts and len(counts.encode()) == 11


def test_a_stream_takes_at_most_so_many_bytes():
    counts = PackCounts()
    for begin in (0, 2**40):
        for number in range(begin, begin + 2 * WINDOW):
            counts.add(number)
    assert len(counts.encode()) == 2 * (10 + WINDOW // 8)
