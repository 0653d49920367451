"""Lapsing: entries go when their time has come, and do not pile up until somebody asks for them."""

import random

from adapters.memory.lapsing import Lapsing
from tests.fakes import FrozenClock


def test_an_entry_is_there_until_its_time_has_come(clock: FrozenClock) -> None:
    entries: Lapsing[str, int] = Lapsing(clock)
    entries.put("a", 1, seconds=10)
    entries.put("b", 2)

    clock.advance(9)
    before = (entries.get("a"), [*entries.values()])
    clock.advance(1)
    after = (entries.get("a"), [*entries.values()])

    assert (before, after) == ((1, [1, 2]), (None, [2]))


def test_what_lapsed_is_swept_out_by_what_comes(clock: FrozenClock) -> None:
    entries: Lapsing[int, None] = Lapsing(clock)
    dice, most = random.Random(1), 0

    for number in range(20_000):
        entries.put(number, None, seconds=dice.uniform(1, 100))
        clock.advance(1)
        most = max(most, len(entries))

    assert most <= 220
