"""RunNames: a name stands for one run, whoever gives it, until its time is over."""

import asyncio

import pytest

from adapters.memory.names import MemoryRunNames
from adapters.redis.connection import RedisConnection
from adapters.redis.names import RedisRunNames
from domain.ports import Named, RunNames
from tests.contracts.backends import Backend, eventually
from tests.contracts.runs import new_run
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

NAME, OTHER = "0" * 63 + "a", "f" * 64
FIRST, SECOND = (Named(new_run().id, fingerprint) for fingerprint in ("a" * 64, "b:" * 32))


@pytest.fixture
def names(connection: RedisConnection | None, clock: FrozenClock) -> RunNames:
    return MemoryRunNames(clock) if connection is None else RedisRunNames(connection)


async def test_who_is_first_has_the_name(names: RunNames) -> None:
    answers = [await names.adopt(NAME, named, 60) for named in (FIRST, SECOND, FIRST)]

    assert answers == [FIRST] * 3


async def test_names_do_not_meet(names: RunNames) -> None:
    await names.adopt(NAME, FIRST, 60)

    assert await names.adopt(OTHER, SECOND, 60) == SECOND


async def test_of_fifty_at_once_one_gets_the_name_and_all_are_told_which(names: RunNames) -> None:
    all_named = [Named(new_run().id, str(number)) for number in range(50)]

    answers = await asyncio.gather(*(names.adopt(NAME, named, 60) for named in all_named))

    assert len({*answers}) == 1
    assert answers[0] in all_named


async def test_a_name_is_taken_from_the_run_that_it_may_be_taken_from_and_from_no_other(names: RunNames) -> None:
    third = Named(new_run().id, "")
    await names.adopt(NAME, FIRST, 60)

    answers = [
        await names.adopt(NAME, SECOND, 60, instead_of=third.run_id),
        await names.adopt(NAME, SECOND, 60, instead_of=FIRST.run_id),
        await names.adopt(NAME, third, 60, instead_of=FIRST.run_id),
        await names.adopt(NAME, SECOND, 60, instead_of=FIRST.run_id),
    ]

    assert answers == [FIRST, SECOND, SECOND, SECOND]


async def test_of_fifty_who_replace_a_run_at_once_one_does(names: RunNames) -> None:
    await names.adopt(NAME, FIRST, 60)
    all_named = [Named(new_run().id, str(number)) for number in range(50)]

    answers = await asyncio.gather(*(names.adopt(NAME, each, 60, instead_of=FIRST.run_id) for each in all_named))

    assert len({*answers}) == 1
    assert answers[0] in all_named


async def test_a_name_that_is_not_kept_is_free(names: RunNames) -> None:
    await names.adopt(NAME, FIRST, 60)

    await names.keep(NAME, FIRST.run_id, 0)

    assert await names.adopt(NAME, SECOND, 60) == SECOND


async def test_only_who_has_a_name_disposes_of_it(names: RunNames) -> None:
    await names.keep(NAME, SECOND.run_id, 60)
    await names.adopt(NAME, FIRST, 60)

    await names.keep(NAME, SECOND.run_id, 0)

    assert await names.adopt(NAME, SECOND, 60) == FIRST


async def test_a_name_lapses(names: RunNames, clock: FrozenClock) -> None:
    await names.adopt(NAME, FIRST, 0.2)
    await names.adopt(OTHER, FIRST, 60)
    await names.keep(OTHER, FIRST.run_id, 0.2)

    # Redis lets them lapse by its own clock.
    clock.advance(0.2)
    await eventually(lambda: _has(names, NAME, SECOND))
    await eventually(lambda: _has(names, OTHER, SECOND))


async def test_a_name_that_is_kept_lapses_later(names: RunNames, clock: FrozenClock) -> None:
    await names.adopt(NAME, FIRST, 0.2)
    await names.keep(NAME, FIRST.run_id, 60)
    await names.adopt(OTHER, FIRST, 0.2)

    clock.advance(0.2)
    await eventually(lambda: _has(names, OTHER, SECOND))

    assert await names.adopt(NAME, SECOND, 60) == FIRST


async def _has(names: RunNames, name: str, named: Named) -> bool:
    return await names.adopt(name, named, 60) == named


@pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("name", ["", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", "{" + "a" * 63])
async def test_what_is_no_name_enters_no_key(names: RunNames, backend: Backend, name: str) -> None:
    for call in (names.adopt(name, FIRST, 60), names.keep(name, FIRST.run_id, 60)):
        with pytest.raises(ValueError):
            await call

    assert backend.lifetimes() == {}
