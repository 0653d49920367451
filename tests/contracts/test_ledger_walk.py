"""Ledger: random calls say what the model says, and calls at the same time what some order of them says."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import combinations
from typing import TypeAlias

import pytest

from adapters.redis.ledger import RedisLedger
from domain.errors import InsufficientTokens, SluiceError
from domain.ports import Ledger
from tests.contracts.backends import Backend, connected
from tests.contracts.ledger_model import ALICE, Book
from tests.contracts.ledgers import SetBalance, hold, lines
from tests.fakes import FrozenClock

pytestmark = pytest.mark.anyio

#: One call: on the model, and on a ledger.
Step: TypeAlias = tuple[Callable[[Book], object], Callable[[Ledger], Awaitable[object]]]


def some_step(dice: random.Random, ids: int = 12) -> Step:
    hold_id, operation = f"h{dice.randint(1, ids)}", f"o{dice.randint(1, ids)}"
    number, seconds = dice.randint(1, 80), dice.randint(1_000, 40_000) / 1000
    match dice.choices(["hold", "settle", "release", "touch", "grant", "adjust"], [10, 4, 2, 4, 2, 1])[0]:
        case "hold":
            least = dice.randint(1, number)
            return (
                lambda book: book.hold(hold_id, number, least, 100, seconds),
                lambda it: hold(it, hold_id, number, least=least, initial=100, seconds=seconds),
            )
        case "settle":
            return lambda book: book.settle(hold_id, number), lambda it: it.settle(ALICE, hold_id, number)
        case "release":
            return lambda book: book.release(hold_id), lambda it: it.release(ALICE, hold_id)
        case "touch":
            return lambda book: book.touch(hold_id, number, seconds), lambda it: it.touch(
                ALICE, hold_id, number, seconds
            )
        case "grant":
            return lambda book: book.grant(operation, number), lambda it: it.grant(ALICE, operation, number)
        case _:
            return lambda book: book.adjust(operation, number), lambda it: it.adjust(ALICE, operation, number)


@pytest.mark.parametrize("seed", range(20))
async def test_a_random_walk_takes_the_steps_of_the_model(
    ledger: Ledger, set_balance: SetBalance, clock: FrozenClock, seed: int
) -> None:
    dice, book = random.Random(seed), Book(clock)

    for _ in range(120):
        what = dice.random()
        if what < 0.1:
            clock.advance(dice.expovariate(0.1))
        elif what < 0.15:
            book.balance = dice.choice([None, dice.randint(-50, 500)])
            await set_balance(ALICE, book.balance)
        else:
            model, call = some_step(dice)
            assert await said(call(ledger)) == said_by(model, book)

    assert await ledger.available(ALICE) == book.available()
    assert await lines(ledger) == book.lines
    assert await ledger.audit(ALICE) == ()


@pytest.mark.parametrize("seed", range(50))
async def test_two_clients_at_the_same_time_see_some_order_of_their_calls(
    ledger: Ledger, backend: Backend, clock: FrozenClock, seed: int
) -> None:
    dice, book = random.Random(seed), Book(clock)
    await ledger.grant(ALICE, "begin", 100)
    book.grant("begin", 100)
    first, second = ([some_step(dice, ids=2) for _ in range(4)] for _ in range(2))

    async with another(ledger, backend, clock) as other:
        answers = await asyncio.gather(all_said(ledger, first, dice), all_said(other, second, dice))
    seen = (*answers, await lines(ledger))

    assert any(seen == outcome for outcome in outcomes(book, first, second))
    assert await ledger.audit(ALICE) == ()


@asynccontextmanager
async def another(ledger: Ledger, backend: Backend, clock: FrozenClock) -> AsyncIterator[Ledger]:
    """A second client of the same store."""
    if backend.url is None:
        yield ledger
        return
    async with connected(backend.url) as connection:
        yield RedisLedger(connection, clock=clock)


async def all_said(ledger: Ledger, steps: Sequence[Step], dice: random.Random) -> list[object]:
    answers = []
    for _, call in steps:
        await asyncio.sleep(dice.random() / 1000)
        answers.append(await said(call(ledger)))
    return answers


def outcomes(book: Book, first: Sequence[Step], second: Sequence[Step]) -> Iterator[tuple[object, object, object]]:
    """What the clients may have been told, and what then is in the history: one for each order of their calls."""
    count = len(first) + len(second)
    for places in combinations(range(count), len(first)):
        copy, left, right = deepcopy(book), iter(first), iter(second)
        told: tuple[list[object], list[object]] = ([], [])
        for place in range(count):
            model, _ = next(left if place in places else right)
            told[0 if place in places else 1].append(said_by(model, copy))
        yield (*told, copy.lines)


async def said(call: Awaitable[object]) -> object:
    """What a call returned, or the refusal and its number."""
    try:
        return await call
    except InsufficientTokens as refusal:
        return refusal.code, refusal.available
    except SluiceError as refusal:
        return refusal.code


def said_by(model: Callable[[Book], object], book: Book) -> object:
    try:
        return model(book)
    except InsufficientTokens as refusal:
        return refusal.code, refusal.available
    except SluiceError as refusal:
        return refusal.code
