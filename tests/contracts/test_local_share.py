"""The share of a replica: what it admits by itself while the limiter of all replicas is away, and for no longer."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.memory.rate import MemoryRateLimiter
from adapters.memory.share import ASK_AGAIN, LocalShare
from adapters.redis import keys
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from adapters.redis.rate import RedisRateLimiter
from domain.errors import StoreUnavailable
from domain.facts import LimitsLocal, LimitsShared
from domain.ledger import Account
from domain.rate import Allowance, Charge, Slot, Verdict
from domain.tenants import TenantId
from tests.contracts.backends import connected, eventually
from tests.fakes import FrozenClock, ListJournal
from tests.redis_server import RedisCluster, redis_cluster

pytestmark = pytest.mark.anyio

REQUEST = Charge("rpm", "requests", Allowance(10), 1)


@dataclass(slots=True)
class Store:
    """A limiter that does not answer for the tenants that are away, after so many seconds; it notes who asks."""

    limiter: MemoryRateLimiter
    clock: FrozenClock
    away: set[TenantId] = field(default_factory=set)
    silent: float = 0.0
    asked: list[int] = field(default_factory=list)

    async def take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot] = ()) -> Verdict:
        self.asked.append(sum(charge.cost for charge in charges))
        self._answer(tenant)
        return await self.limiter.take(tenant, charges, slots)

    async def correct(self, tenant: TenantId, charges: Sequence[Charge], at: float, slots: Sequence[Slot] = ()) -> None:
        self._answer(tenant)
        await self.limiter.correct(tenant, charges, at, slots)

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        self._answer(tenant)
        await self.limiter.keep(tenant, slots)

    def _answer(self, tenant: TenantId) -> None:
        if tenant in self.away:
            self.clock.advance(self.silent)
            raise StoreUnavailable


@pytest.fixture
def store(clock: FrozenClock) -> Store:
    return Store(MemoryRateLimiter(clock), clock)


@pytest.fixture
def journal() -> ListJournal:
    return ListJournal()


@pytest.fixture
def limiter(store: Store, clock: FrozenClock, journal: ListJournal) -> LocalShare:
    return LocalShare(store, clock, journal, replicas=3)


async def admitted(limiter: LocalShare, times: int, tenant: str = "acme") -> list[Verdict]:
    verdicts = [await limiter.take(tenant, [REQUEST]) for _ in range(times)]
    return [verdict for verdict in verdicts if verdict.allowed]


async def test_while_it_answers_the_shared_limiter_decides(limiter: LocalShare, journal: ListJournal) -> None:
    verdicts = await admitted(limiter, 15)

    assert len(verdicts) == 10
    assert not any(verdict.local for verdict in verdicts)
    assert journal.facts == []


async def test_while_it_is_away_a_third_of_the_limit_is_admitted_and_says_so(
    limiter: LocalShare, store: Store, journal: ListJournal
) -> None:
    store.away = {"acme"}

    verdicts = [await limiter.take("acme", [REQUEST]) for _ in range(5)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert all(verdict.local for verdict in verdicts)
    assert [verdict.readings[0].limit for verdict in verdicts] == [3] * 5
    assert verdicts[3].retry_after == pytest.approx(60, abs=1)
    assert journal.facts == [LimitsLocal("acme")]


async def test_a_share_of_a_small_limit_is_one(limiter: LocalShare, store: Store) -> None:
    store.away = {"acme"}
    charge, slot = Charge("rpm", "requests", Allowance(2), 1), Slot("runs", 1, "run-1", 30.0)

    first = await limiter.take("acme", [charge], [slot])
    second = await limiter.take("acme", [charge])

    assert (first.allowed, second.allowed) == (True, False)


async def test_tenants_whose_meters_are_there_are_limited_by_them(limiter: LocalShare, store: Store) -> None:
    store.away = {"acme"}
    await admitted(limiter, 5)

    verdicts = await admitted(limiter, 15, tenant="other")

    assert len(verdicts) == 10
    assert not any(verdict.local for verdict in verdicts)


async def test_nobody_waits_for_what_is_known_to_be_away(limiter: LocalShare, store: Store, clock: FrozenClock) -> None:
    store.away = {"acme"}
    await limiter.take("acme", [REQUEST])

    for _ in range(40):
        await limiter.take("acme", [REQUEST])
        await asyncio.sleep(0)
        clock.advance(ASK_AGAIN / 10)

    # The first to find out, and then somebody every second, for what costs nothing.
    assert store.asked[0] == 1
    assert 3 <= len(store.asked[1:]) <= 4
    assert sum(store.asked[1:]) == 0


async def test_its_first_answer_ends_the_share(
    limiter: LocalShare, store: Store, clock: FrozenClock, journal: ListJournal
) -> None:
    store.away = {"acme"}
    await admitted(limiter, 5)
    store.away = set()
    clock.advance(ASK_AGAIN)

    # The one who notices that it is time to ask does not wait for the answer.
    still = await limiter.take("acme", [REQUEST])
    await asyncio.sleep(0)
    again = await admitted(limiter, 15)

    assert still.local
    assert len(again) == 10
    assert not any(verdict.local for verdict in again)
    assert journal.facts == [LimitsLocal("acme"), LimitsShared("acme")]


async def test_who_has_waited_for_it_in_vain_is_refused_and_the_next_is_not(limiter: LocalShare, store: Store) -> None:
    store.away, store.silent = {"acme"}, 0.3

    with pytest.raises(StoreUnavailable):
        await limiter.take("acme", [REQUEST])
    verdict = await limiter.take("acme", [REQUEST])

    assert verdict.allowed
    assert verdict.local


async def test_a_cost_is_corrected_where_it_was_estimated(
    limiter: LocalShare, store: Store, clock: FrozenClock
) -> None:
    estimate = Charge("tpm", "tokens", Allowance(300), 90)
    back = Charge("tpm", "tokens", Allowance(300), -80)
    shared = await limiter.take("acme", [estimate])
    clock.advance(0.5)
    store.away = {"acme"}
    own = await limiter.take("acme", [estimate])

    await limiter.correct("acme", [back], own.at)
    with pytest.raises(StoreUnavailable):
        await limiter.correct("acme", [back], shared.at)
    local = await limiter.take("acme", [Charge("tpm", "tokens", Allowance(300), 0)])

    assert local.readings[0].remaining == 90
    store.away = set()
    assert (await store.take("acme", [Charge("tpm", "tokens", Allowance(300), 0)])).readings[0].remaining == 210


async def test_a_place_of_the_share_is_kept_and_freed_like_any_other(
    limiter: LocalShare, store: Store, clock: FrozenClock
) -> None:
    store.away = {"acme"}
    slots = [Slot("runs", 3, name, 30.0) for name in ("run-1", "run-2")]
    first = await limiter.take("acme", [REQUEST], slots[:1])
    store.away = set()
    clock.advance(20)
    await limiter.keep("acme", slots[:1])
    clock.advance(20)
    store.away = {"acme"}

    held = await limiter.take("acme", [], slots[1:])
    await limiter.correct("acme", [], first.at, slots[:1])
    freed = await limiter.take("acme", [], slots[1:])

    assert first.allowed
    assert (held.allowed, held.refused_by) == (False, "concurrency")
    assert freed.allowed


async def test_nothing_is_asked_any_more_once_it_is_closed(
    limiter: LocalShare, store: Store, clock: FrozenClock
) -> None:
    store.away = {"acme"}
    await limiter.take("acme", [REQUEST])
    clock.advance(ASK_AGAIN)
    await limiter.take("acme", [REQUEST])

    await limiter.aclose()
    await asyncio.sleep(0)

    assert store.asked == [1]


# --- a node of a cluster is down --------------------------------------------------------------------------------------


@pytest.fixture
def tolerant(tmp_path: Path) -> Iterator[RedisCluster]:
    """A cluster that goes on with the slots of the nodes that are left."""
    with redis_cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        yield cluster


def owner(cluster: RedisCluster, key: str) -> int:
    """Which node has the slot of this key."""
    slot = cluster.nodes[0].command("CLUSTER", "KEYSLOT", key)
    return next(number for number in range(3) if slot < 16_384 * (number + 1) // 3)


@pytest.mark.slow
async def test_with_the_meters_node_down_the_balance_is_still_spent_within_the_share(tolerant: RedisCluster) -> None:
    tenant = next(name for name in map("t{}".format, range(99)) if owner(tolerant, keys.meter(name, "rpm")) == 0)
    accounts = [Account(tenant, "staff", f"u{number}") for number in range(99)]
    there = next(it for it in accounts if owner(tolerant, AccountKeys.of(it).balance) == 1)
    dark = next(it for it in accounts if owner(tolerant, AccountKeys.of(it).balance) == 0)
    async with connected(tolerant.url) as connection:
        ledger, journal = RedisLedger(connection), ListJournal()
        limiter = LocalShare(RedisRateLimiter(connection), FrozenClock(), journal, replicas=3)
        await ledger.grant(there, "o1", 1000)
        await limiter.take(tenant, [REQUEST])

        tolerant.nodes[0].kill()
        verdicts = [await limiter.take(tenant, [REQUEST]) for _ in range(6)]
        hold = await ledger.hold(there, "h1", wanted=10, least=1, initial=0, seconds=60, lasting=True)
        with pytest.raises(StoreUnavailable):
            await ledger.hold(dark, "h2", wanted=10, least=1, initial=0, seconds=60, lasting=True)
        tolerant.nodes[0].start()
        await eventually(lambda: answers(RedisRateLimiter(connection), tenant))
        await limiter.aclose()

    assert [verdict.allowed for verdict in verdicts] == [True] * 3 + [False] * 3
    assert all(verdict.local for verdict in verdicts)
    assert hold.amount == 10
    assert journal.facts == [LimitsLocal(tenant)]


async def answers(limiter: RedisRateLimiter, tenant: str) -> bool:
    try:
        return (await limiter.take(tenant, [REQUEST])).allowed
    except StoreUnavailable:
        return False
