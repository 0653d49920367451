"""Ledger: who had no reply asks again, and what he asked for is done once."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from adapters.redis.ledger import RedisLedger
from domain.ledger import Hold
from domain.ports import Ledger
from tests.contracts.backends import Backend, connected
from tests.contracts.ledger_model import ALICE, Line
from tests.contracts.ledgers import SetBalance, hold, lines
from tests.contracts.proxy import Proxy, lost, proxied
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["redis"], indirect=True)]


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    async with proxied(server.port) as running:
        yield running


@pytest.fixture
async def far(proxy: Proxy, clock: FrozenClock) -> AsyncIterator[RedisLedger]:
    """The same ledger behind the proxy."""
    async with connected(proxy.url) as connection:
        yield RedisLedger(connection, clock=clock)


Verb = Callable[[Ledger], Awaitable[object]]

#: A call, what it says, and what it adds to the history.
VERBS: dict[str, tuple[Verb, object, Sequence[tuple[str, str, int, int, int]]]] = {
    "available": (lambda it: it.available(ALICE), 40, []),
    "grant": (lambda it: it.grant(ALICE, "g2", 5), 45, [("grant", "g2", 5, 105, 60)]),
    "adjust": (lambda it: it.adjust(ALICE, "a2", 5), -55, [("adjust", "a2", -95, 5, 60)]),
    "hold": (lambda it: hold(it, "h2", 10), Hold("h2", 10), [("hold", "h2", 10, 100, 70)]),
    "touch": (lambda it: it.touch(ALICE, "h1", 5, 60.0), True, []),
    "settle": (lambda it: it.settle(ALICE, "h1", 7), 7, [("settle", "h1", 7, 93, 0)]),
    "release": (lambda it: it.release(ALICE, "h1"), 0, [("release", "h1", 0, 100, 0)]),
    "audit": (lambda it: it.audit(ALICE), (), []),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_call_whose_reply_was_lost_can_be_repeated(
    far: RedisLedger, proxy: Proxy, ledger: Ledger, verb: str
) -> None:
    call, told, added = VERBS[verb]
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    before = await lines(ledger)

    for _ in range(3):
        await lost(proxy, call(far))
    again = await call(far)

    assert again == told
    assert await lines(ledger) == [*before, *(Line(*each) for each in added)]
    assert await ledger.audit(ALICE) == ()


@pytest.mark.parametrize("verb", VERBS)
async def test_what_a_lost_call_found_is_recorded_once(
    far: RedisLedger, proxy: Proxy, ledger: Ledger, set_balance: SetBalance, clock: FrozenClock, verb: str
) -> None:
    call, *_ = VERBS[verb]
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await ledger.touch(ALICE, "h1", 25, 60.0)
    await set_balance(ALICE, 500)
    clock.advance(61.0)

    await lost(proxy, call(far))
    await call(far)

    told = await lines(ledger)
    assert told[2:4] == [("adjust", "set", 400, 500, 60), ("lapse", "h1", 25, 475, 0)]
    assert [line.kind for line in told].count("lapse") == 1
    assert [line.operation for line in told].count("set") == 1
    assert await ledger.audit(ALICE) == ()


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_one_round_trip(ledger: Ledger, backend: Backend, verb: str) -> None:
    await ledger.grant(ALICE, "g1", 100)
    await hold(ledger, "h1", 60)
    await VERBS[verb][0](ledger)
    before = backend.calls("evalsha")

    await VERBS[verb][0](ledger)

    assert backend.calls("evalsha") == before + 1
