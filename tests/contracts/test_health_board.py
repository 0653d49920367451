"""HealthBoard: what one replica found, all know in a while, and only one of them probes."""

import asyncio

import pytest

from adapters.memory.health import MemoryHealthBoard
from adapters.redis.connection import RedisConnection
from adapters.redis.health import RedisHealthBoard
from domain.ports import HealthBoard, Note
from domain.ports.health import GRANTED, KEPT_BEYOND
from tests.contracts.backends import Backend
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

ONE, TWO = "circuit:openai:0123456789ab:gpt-4o", "key:0123456789ab"


@pytest.fixture
def board(connection: RedisConnection | None, clock: FrozenClock) -> HealthBoard:
    return MemoryHealthBoard(clock) if connection is None else RedisHealthBoard(connection, clock=clock)


async def read(board: HealthBoard, replica: str = "b") -> dict[str, object]:
    noted = await board.exchange(replica, [], [], [])
    return {note.subject: pytest.approx(note.seconds, abs=0.002) for note in noted.notes}


async def test_an_empty_board_says_nothing(board: HealthBoard) -> None:
    assert await read(board) == {}


async def test_what_one_found_the_others_learn_with_what_is_left_of_its_time(
    board: HealthBoard, clock: FrozenClock
) -> None:
    told = await board.exchange("a", [Note(ONE, 5.0), Note(TWO, 300.0)], [], [])
    clock.advance(3)

    assert {note.subject for note in told.notes} == {ONE, TWO}
    assert await read(board) == {ONE: 2.0, TWO: 297.0}


async def test_a_note_that_is_told_anew_replaces_the_one_before(board: HealthBoard) -> None:
    await board.exchange("a", [Note(ONE, 5.0)], [], [])
    await board.exchange("b", [Note(ONE, 10.0)], [], [])

    assert await read(board) == {ONE: 10.0}


async def test_what_is_well_is_forgotten(board: HealthBoard) -> None:
    await board.exchange("a", [Note(ONE, 5.0), Note(TWO, 5.0)], [], [])

    left = await board.exchange("b", [], [ONE, "circuit:never"], [])

    assert [note.subject for note in left.notes] == [TWO]


async def test_a_note_stays_for_a_while_beyond_its_time_and_then_goes(board: HealthBoard, clock: FrozenClock) -> None:
    await board.exchange("a", [Note(ONE, 5.0)], [], [])

    clock.advance(5 + KEPT_BEYOND - 1)
    late = await read(board)
    clock.advance(1)

    assert late == {ONE: 0.0}
    assert await read(board) == {}


async def test_of_all_who_want_to_probe_one_may_and_not_before_the_time_is_over(
    board: HealthBoard, clock: FrozenClock
) -> None:
    await board.exchange("a", [Note(ONE, 5.0)], [], [])
    early = await board.exchange("a", [], [], [ONE])
    clock.advance(5)

    answers = await asyncio.gather(*(board.exchange(f"r{number}", [], [], [ONE]) for number in range(20)))

    assert early.granted == frozenset()
    assert sorted(answer.granted for answer in answers)[-1:] == [frozenset({ONE})]
    assert sum(ONE in answer.granted for answer in answers) == 1


async def test_who_may_probe_still_may_when_asking_again_and_another_when_its_time_is_over(
    board: HealthBoard, clock: FrozenClock
) -> None:
    await board.exchange("a", [Note(ONE, 0.0)], [], [])

    granted = [ONE in (await board.exchange(replica, [], [], [ONE])).granted for replica in ("a", "b", "a")]
    clock.advance(GRANTED)
    granted.append(ONE in (await board.exchange("b", [], [], [ONE])).granted)

    assert granted == [True, False, True, True]


async def test_what_nobody_noted_is_not_to_be_probed(board: HealthBoard) -> None:
    assert (await board.exchange("a", [], [], [ONE])).granted == frozenset()


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
async def test_the_board_goes_by_itself(board: HealthBoard, backend: Backend) -> None:
    await board.exchange("a", [Note(ONE, 5.0)], [], [])

    (milliseconds,) = backend.lifetimes().values()
    assert 0 < milliseconds <= 1_000 * (5 + KEPT_BEYOND)
