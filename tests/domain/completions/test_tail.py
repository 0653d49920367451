"""The end of a log that all readers of a process share: nobody misses anything, and nobody hangs."""

import asyncio
import random

import anyio
import pytest

from domain.completions.tail import Tail
from domain.runs import Ending, Status
from tests.builders import a_run
from tests.domain.completions.world import read_all, settled

pytestmark = pytest.mark.anyio

DONE = Ending(Status.COMPLETED)


def close(tail: Tail, ending: Ending = DONE) -> None:
    tail.close(a_run(status=ending.status, tail=len(tail.entries)), ending)


# --- waiting for more -------------------------------------------------------------------------------------------------


async def test_what_is_there_already_is_not_waited_for() -> None:
    tail = Tail(a_run())
    tail.extend([b"1", b"2"])

    assert await tail.grown(0)
    assert await tail.grown(1)


async def test_a_reader_waits_for_the_first_entry_that_it_has_not_seen() -> None:
    tail = Tail(a_run())
    tail.extend([b"1"])
    reader = asyncio.ensure_future(tail.grown(1))
    await settled()
    waited = not reader.done()

    tail.extend([b"2"])

    assert waited
    assert await reader


async def test_an_ending_wakes_readers_as_an_entry_does() -> None:
    tail = Tail(a_run())
    reader = asyncio.ensure_future(tail.grown(0))
    await settled()

    close(tail)

    assert await reader


async def test_a_reader_that_wants_to_hear_of_silence_does() -> None:
    tail = Tail(a_run())

    assert not await tail.grown(0, seconds=0)
    assert await tail.ended(seconds=0) is None


async def test_a_reader_who_is_ahead_of_the_tail_is_not_woken_for_less() -> None:
    tail = Tail(a_run())
    reader = asyncio.ensure_future(read_all(tail, seen=2))
    await settled()

    tail.extend([b"1"])
    tail.extend([b"2"])
    tail.extend([b"3"])
    close(tail)

    assert await reader == [b"3"]


async def test_what_a_reader_has_seen_already_is_not_silence_when_it_comes_here() -> None:
    tail = Tail(a_run())
    reader = asyncio.ensure_future(tail.grown(2, seconds=60))
    await settled()

    tail.extend([b"1"])
    await settled()
    too_soon = reader.done()
    tail.extend([b"2", b"3"])

    assert not too_soon
    assert await reader


async def test_a_reader_who_has_everything_is_left_in_peace() -> None:
    tail = Tail(a_run())
    first = asyncio.ensure_future(tail.grown(0))
    await settled()
    tail.extend([b"1"])
    await first

    second = asyncio.ensure_future(tail.grown(1))
    await settled()
    waits = not second.done()
    close(tail)

    assert waits
    assert await second


async def test_a_thousand_readers_are_woken_by_one_bell() -> None:
    tail = Tail(a_run())
    others = len(asyncio.all_tasks())
    readers = [asyncio.ensure_future(read_all(tail)) for _ in range(1_000)]
    await settled()
    tasks = len(asyncio.all_tasks()) - others

    tail.extend([b"1"])
    await settled()
    tail.extend([b"2"])
    close(tail)

    assert await asyncio.gather(*readers) == [[b"1", b"2"]] * 1_000
    assert tasks == 1_000, "a reader costs no task beyond its own"


async def test_a_reader_who_leaves_takes_nobody_along() -> None:
    tail = Tail(a_run())
    readers = [asyncio.ensure_future(read_all(tail)) for _ in range(10)]
    await settled()

    for leaving in readers[::2]:
        leaving.cancel()
    await settled()
    still_waiting = [reader.done() for reader in readers[1::2]]
    tail.extend([b"1"])
    close(tail)

    assert still_waiting == [False] * 5
    assert await asyncio.gather(*readers[1::2]) == [[b"1"]] * 5


async def test_a_reader_who_gives_up_takes_nobody_along() -> None:
    tail = Tail(a_run())
    patient = asyncio.ensure_future(read_all(tail))
    await settled()

    impatient = await tail.grown(0, seconds=0)
    tail.extend([b"1"])
    close(tail)

    assert not impatient
    assert await patient == [b"1"]


@pytest.mark.parametrize("seed", range(50))
async def test_whenever_a_reader_attaches_it_gets_the_exact_rest_and_none_hangs(seed: int) -> None:
    dice = random.Random(seed)
    entries = [b"%d" % number for number in range(dice.randint(0, 12))]
    tail = Tail(a_run())

    async def write() -> None:
        left = list(entries)
        while left:
            some = dice.randint(1, len(left))
            tail.extend([left.pop(0) for _ in range(some)])
            await settled(dice.randint(0, 3))
        close(tail)

    async def attach() -> tuple[int, list[bytes]]:
        await settled(dice.randint(0, 12))
        seen = dice.randint(0, len(tail.entries))
        return seen, await read_all(tail, seen)

    with anyio.fail_after(10):
        writing = asyncio.ensure_future(write())
        views = await asyncio.gather(*(attach() for _ in range(40)))
        await writing

    assert [rest for _, rest in views] == [entries[seen:] for seen, _ in views]


# --- waiting for the end ----------------------------------------------------------------------------------------------


async def test_whoever_waits_for_the_end_is_not_content_with_less() -> None:
    tail = Tail(a_run())
    waiting = asyncio.ensure_future(tail.ended())
    await settled()

    tail.extend([b"1"])
    await settled()
    still_waiting = not waiting.done()
    close(tail)

    assert still_waiting
    assert await waiting is DONE


async def test_the_end_is_waited_for_as_long_as_was_said() -> None:
    tail = Tail(a_run())
    waiting = asyncio.ensure_future(tail.ended(seconds=3_600))
    await settled()

    close(tail)

    assert await waiting is DONE
    assert await tail.ended(seconds=0) is DONE


async def test_entries_that_keep_coming_do_not_prolong_the_wait() -> None:
    tail = Tail(a_run())

    async def talk() -> None:
        while True:
            tail.extend([b"."])
            await asyncio.sleep(0.001)

    talking = asyncio.ensure_future(talk())
    with anyio.fail_after(10):
        ending = await tail.ended(seconds=0.01)
    talking.cancel()

    assert ending is None
    assert tail.entries


async def test_only_the_first_ending_counts() -> None:
    tail = Tail(a_run())
    close(tail)

    close(tail, Ending(Status.FAILED))

    assert tail.ending is DONE
    assert tail.run.status is Status.COMPLETED
