"""Joining: an order that was given before, or that another just like it is carried out for, costs nothing more."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.completions.joining import PATIENCE
from domain.completions.naming import cache_name, fingerprint, idempotency_name
from domain.completions.orders import Started
from domain.errors import (
    CompletionShared,
    IdempotencyKeyReused,
    InsufficientTokens,
    ProviderTimeout,
    ProviderTruncated,
    StoreUnavailable,
)
from domain.runs import Status
from domain.tenants import Group
from tests.builders import (
    a_caller,
    a_choice,
    a_chunk,
    a_completion,
    a_provider,
    a_request,
    a_stream,
    a_target,
    a_tenant,
    an_account,
    user,
)
from tests.domain.completions.world import (
    INITIAL,
    PROMPT,
    World,
    begin,
    ended,
    enqueue,
    follow,
    outcome,
    settled,
    start,
    until,
)
from tests.fakes import Step

pytestmark = pytest.mark.anyio

CHUNKS = a_stream("Hello", " world")
LOG = [chunk.data for chunk in CHUNKS]
COST = PROMPT + 2
CACHED = a_request(cache_key="k")
NOBODY = a_caller(group="anonymous", user="anonymous-1")


def script(world: World, *steps: Step) -> None:
    world.provider.script = steps


def gated(world: World, *steps: Step) -> asyncio.Event:
    gate = asyncio.Event()
    script(world, gate, *(steps or CHUNKS))
    return gate


def runs_of(answers: "list[Started]") -> set[str]:
    return {answer.run.id for answer in answers}


# --- Idempotency-Key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_fifty_requests_with_one_key_at_once_are_one_run_that_all_attach_to(world: World, seed: int) -> None:
    gate = gated(world)
    replicas = [world.replica() for _ in range(3)]

    answers = await asyncio.gather(*(start(replicas[(n + seed) % 3], idempotency_key="k") for n in range(50)))
    readers = [asyncio.ensure_future(follow(replicas[n % 3], answers[n].run.id)) for n in range(50)]
    await settled()
    gate.set()

    assert [entries for entries, _ in await asyncio.gather(*readers)] == [LOG] * 50
    assert (len(runs_of(answers)), len(world.provider.calls)) == (1, 1)
    assert Counter(answer.replayed for answer in answers) == {True: 49, False: 1}
    assert await world.balance() == INITIAL - COST
    assert (world.ledger.calls["hold"], world.ledger.calls["settle"]) == (1, 1)


async def test_a_key_stands_for_its_run_after_that_has_ended_and_for_queued_ones_too(world: World) -> None:
    replica = await world.worker()
    first = await enqueue(replica, idempotency_key="k")
    await world.over(first.run)

    again = await enqueue(world.replica(), idempotency_key="k")

    assert (again.run.id, again.run.status, again.replayed) == (first.run.id, Status.COMPLETED, True)
    assert (await follow(world.replica(), again.run.id))[0] == LOG


@pytest.mark.parametrize(
    "other",
    [
        a_request(user("Bye")),
        a_request(more={"temperature": 0.0}),
        a_request(stream=True),
        a_request(cache_key="c"),
        a_request(model="gpt-4"),
        a_request(conversation="my-chat"),
    ],
)
async def test_a_key_that_was_given_for_another_request_is_refused(world: World, other: object) -> None:
    replica = world.replica()
    await start(replica, idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        await start(replica, request=other, idempotency_key="k")  # type: ignore[arg-type]

    assert len(world.provider.calls) == 1


async def test_a_refused_request_frees_its_key(world: World) -> None:
    replica = world.replica()
    world.ledger.wrapped.overwrite(an_account(), 0)
    for _ in range(3):
        with pytest.raises(InsufficientTokens):
            await start(replica, idempotency_key="k")

    world.ledger.wrapped.overwrite(an_account(), INITIAL)
    started_at = world.clock()
    begun = await start(replica, idempotency_key="k")

    assert (begun.replayed, world.clock() - started_at) == (False, 0.0)


async def test_requests_that_wait_for_one_that_is_refused_get_their_own_answer(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 0)
    replica = world.replica()

    answers = await asyncio.gather(*(outcome(start(replica, idempotency_key="k")) for _ in range(10)))

    assert {type(answer) for answer in answers} == {InsufficientTokens}


@pytest.mark.parametrize("waiting", [1, 10])
async def test_an_owner_that_dies_before_its_run_is_there_is_replaced_by_one_when_patience_is_over(
    world: World, waiting: int
) -> None:
    dying = world.replica()
    world.tokenizer.gate.clear()
    lost = asyncio.ensure_future(start(dying, idempotency_key="k"))
    await world.tokenizer.asked.wait()
    dying.process.kill()
    world.tokenizer.gate.set()
    asked_at = world.clock()

    answers = await asyncio.gather(*(start(world.replica(), idempotency_key="k") for _ in range(waiting)))
    took = world.clock() - asked_at
    for answer in answers:
        await world.over(answer.run)

    assert PATIENCE <= took < PATIENCE + 1.0
    assert (len(runs_of(answers)), len(world.provider.calls)) == (1, 1)
    lost.cancel()


async def test_when_an_owner_died_those_who_wait_let_the_next_one_be_admitted_in_peace(world: World) -> None:
    dying = world.replica()
    world.tokenizer.gate.clear()
    lost = asyncio.ensure_future(start(dying, idempotency_key="k"))
    await world.tokenizer.asked.wait()
    dying.process.kill()
    asking = [asyncio.ensure_future(start(world.replica(), idempotency_key="k")) for _ in range(10)]

    # The next owner's admission takes a second.
    await asyncio.sleep(PATIENCE + 1.0)
    world.tokenizer.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert len(world.provider.calls) == 1
    lost.cancel()


async def test_an_owner_that_was_too_slow_is_told_and_leaves_nothing_running(world: World) -> None:
    slow, quick = world.replica(), world.replica()
    arrived, released = world.store.hold_up("begin")
    first = asyncio.ensure_future(outcome(start(slow, idempotency_key="k")))
    await arrived.wait()
    second = asyncio.ensure_future(start(quick, idempotency_key="k"))
    await asyncio.sleep(PATIENCE + 1.0)

    released.set()
    refusal, begun = await first, await second
    await world.over(begun.run)
    await slow.drain(10.0)

    assert type(refusal) is StoreUnavailable
    assert len(world.provider.calls) == 1
    assert await world.balance() == INITIAL - COST


async def test_a_run_that_failed_before_it_cost_anything_gives_way_to_the_next_attempt(world: World) -> None:
    replica = world.replica()
    script(world, ProviderTimeout())
    failed, tail = await begin(replica, idempotency_key="k")
    await ended(tail)

    script(world, *CHUNKS)
    again = await start(replica, idempotency_key="k")

    assert (again.run.id != failed.id, again.replayed) == (True, False)
    assert (await world.over(again.run)).status is Status.COMPLETED


async def test_a_failure_that_was_charged_is_the_answer(world: World) -> None:
    replica = world.replica()
    script(world, a_chunk("Hello"), ProviderTimeout())
    failed, tail = await begin(replica, idempotency_key="k")
    await ended(tail)

    again = await start(replica, idempotency_key="k")

    assert (again.run.id, again.replayed, again.run.status) == (failed.id, True, Status.FAILED)
    assert len(world.provider.calls) == 1


async def test_keys_are_their_users_own(world: World) -> None:
    replica = world.replica()
    others = [
        a_caller(),
        a_caller(user="bob"),
        a_caller(a_tenant(id="globex")),
    ]

    answers = [await start(replica, caller, idempotency_key="k") for caller in others]

    assert (len(runs_of(answers)), {answer.replayed for answer in answers}) == (3, {False})


async def test_two_strangers_who_chose_the_same_key_never_meet_unless_they_ask_the_same(world: World) -> None:
    replica, stranger = world.replica(), replace(NOBODY, user="anonymous-2")

    one = await start(replica, NOBODY, idempotency_key="k")
    other = await start(replica, stranger, a_request(user("Bye")), idempotency_key="k")
    same = await start(replica, stranger, idempotency_key="k")

    assert (other.replayed, other.run.id != one.run.id) == (False, True)
    assert (same.replayed, same.run.id) == (True, one.run.id)


async def test_a_store_of_names_that_is_away_admits_nobody_twice(world: World) -> None:
    world.names.fail("adopt")

    with pytest.raises(StoreUnavailable):
        await start(world.replica(), idempotency_key="k")

    assert world.provider.calls == []


# --- the cache --------------------------------------------------------------------------------------------------------


async def test_a_hundred_identical_requests_at_once_on_two_replicas_are_one_call_and_a_hundred_views(
    world: World,
) -> None:
    gate = gated(world)
    replicas = [world.replica(), world.replica()]

    answers = await asyncio.gather(*(start(replicas[n % 2], request=CACHED) for n in range(100)))
    readers = [asyncio.ensure_future(follow(replicas[n % 2], answer.run.id)) for n, answer in enumerate(answers)]
    await settled()
    gate.set()

    views = await asyncio.gather(*readers)
    assert [entries for entries, _ in views] == [LOG] * 100
    assert {ending.status for _, ending in views} == {Status.COMPLETED}
    assert (len(runs_of(answers)), len(world.provider.calls)) == (100, 1)
    assert Counter(answer.cache for answer in answers) == {"miss": 1, "shared": 99}
    assert await world.balance() == INITIAL - COST
    found = [await replicas[0].find(answer.run.id, "acme", "ann") for answer in answers]
    assert sorted(run.charged or 0 for run in found) == [0] * 99 + [COST]


@pytest.mark.parametrize("live", [True, False])
async def test_a_hit_is_replayed_for_streams_and_whole_answers_alike(world: World, live: bool) -> None:
    script(world, *(CHUNKS if live else [a_completion(a_choice("Hello world"))]))
    await world.over((await start(world.replica(), request=CACHED, live=live)).run)
    elsewhere = world.replica()

    for asked_live in (True, False):
        hit = await start(elsewhere, a_caller(user="bob"), CACHED, live=asked_live)
        entries, ending = await follow(elsewhere, hit.run.id, user="bob")
        completion = await elsewhere.completion(hit.run)

        assert (hit.cache, hit.run.status, hit.run.charged) == ("hit", Status.COMPLETED, 0)
        said = [json.loads(entry)["choices"][0]["delta"].get("content") or "" for entry in entries]
        assert "".join(said) == "Hello world"
        assert completion is not None
        assert completion.choices == [a_choice("Hello world")]
        assert ending.status is Status.COMPLETED
    assert len(world.provider.calls) == 1


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize(
    "steps",
    [
        (a_chunk("Hello"), a_chunk(finish="length")),
        (a_chunk("Hello"), a_chunk(finish="content_filter")),
        (a_chunk(delta={"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}),
         a_chunk(finish="tool_calls")),
        (a_chunk("Hello"), ProviderTimeout()),
        (ProviderTimeout(),),
    ],
)  # fmt: skip
async def test_only_whole_answers_are_given_again(world: World, steps: tuple[Step, ...], forgotten: bool) -> None:
    script(world, *steps)
    if forgotten:
        # Nobody takes the name back.
        world.names.fail("keep")
    replica = world.replica()
    await world.over((await start(replica, request=CACHED)).run)
    await settled()

    again = await start(replica, request=CACHED)

    await world.over(again.run)
    assert (again.cache, len(world.provider.calls)) == ("miss", 2)


@pytest.mark.parametrize(
    "other",
    [
        replace(CACHED, cache_key="other"),
        a_request(user("Bye"), cache_key="k"),
        a_request(more={"temperature": 0.0}, cache_key="k"),
        a_request(),
    ],
)
async def test_other_requests_share_nothing(world: World, other: object) -> None:
    replica = world.replica()
    await world.over((await start(replica, request=CACHED)).run)

    answer = await start(replica, request=other)  # type: ignore[arg-type]

    assert answer.cache in ("miss", None)
    await world.over(answer.run)
    assert len(world.provider.calls) == 2


async def test_other_groups_and_tenants_share_nothing(world: World) -> None:
    replica = world.replica()
    await world.over((await start(replica, request=CACHED)).run)
    tenant = a_tenant(groups={"vip": Group("vip", initial_tokens=1_000)})

    for caller in (a_caller(tenant, group="vip"), a_caller(a_tenant(id="globex"))):
        assert (await start(replica, caller, CACHED)).cache == "miss"


async def test_a_tenant_that_keeps_no_answers_shares_none(world: World) -> None:
    replica, caller = world.replica(), a_caller(a_tenant(cache_seconds=0.0))

    answers = [await start(replica, caller, CACHED) for _ in range(2)]

    assert {answer.cache for answer in answers} == {"miss"}
    for answer in answers:
        await world.over(answer.run)
    assert len(world.provider.calls) == 2


async def test_an_answer_is_kept_for_as_long_as_the_tenant_says(world: World) -> None:
    replica, caller = world.replica(), a_caller(a_tenant(cache_seconds=60.0))
    await world.over((await start(replica, caller, CACHED)).run)
    await settled()

    world.clock.advance(59.0)
    before = (await start(replica, caller, CACHED)).cache
    world.clock.advance(2.0)
    after = (await start(replica, caller, CACHED)).cache

    assert (before, after) == ("hit", "miss")


async def test_an_answer_without_extras_is_not_shared_with_who_gets_them(world: World) -> None:
    replica = world.replica()
    await world.over((await start(replica, request=CACHED, extras=True)).run)

    assert (await start(replica, request=CACHED, extras=False)).cache == "miss"


async def test_whoever_comes_while_the_owner_is_being_cancelled_begins_a_run_of_its_own(world: World) -> None:
    gated(world)
    replica = world.replica()
    owner, _ = await begin(replica, request=CACHED)
    await until(lambda: bool(world.provider.calls))
    await world.store.wrapped.cancel(owner.id)

    script(world, *CHUNKS)
    other = await start(world.replica(), request=CACHED)

    assert other.cache == "miss"
    assert (await world.over(other.run)).status is Status.COMPLETED


async def test_an_owner_with_followers_cannot_be_cancelled_and_a_follower_can_leave(world: World) -> None:
    gate = gated(world)
    replica = world.replica()
    owner, tail = await begin(replica, request=CACHED)
    follower = (await start(world.replica(), a_caller(user="bob"), CACHED)).run

    with pytest.raises(CompletionShared):
        await replica.cancel(owner, 1.0)
    left = await replica.cancel(await replica.find(follower.id, "acme", "bob"), 1.0)
    gate.set()

    assert left.status is Status.CANCELLED
    assert (await ended(tail)).status is Status.COMPLETED


async def test_when_the_owner_fails_so_do_its_followers_and_the_next_one_tries_again(world: World) -> None:
    gate = gated(world, a_chunk("Hello"), ProviderTruncated())
    replica, elsewhere = world.replica(), world.replica()
    owner = (await start(replica, request=CACHED)).run
    follower = (await start(elsewhere, a_caller(user="bob"), CACHED)).run
    reader = asyncio.ensure_future(follow(elsewhere, follower.id, user="bob"))
    await settled()

    gate.set()
    entries, ending = await reader
    record = await world.over(owner)
    found = await elsewhere.find(follower.id, "acme", "bob")
    again = await start(elsewhere, request=CACHED)

    assert entries == [a_chunk("Hello").data]
    assert ending.error == record.error == found.error
    assert (found.status, found.charged) == (Status.FAILED, 0)
    assert again.cache == "miss"


async def test_when_the_owners_replica_dies_a_follower_gets_the_whole_answer_of_the_next_attempt(world: World) -> None:
    gated(world)
    replica, elsewhere = await world.worker(), world.replica()
    await start(replica, request=CACHED)
    await until(lambda: bool(world.provider.calls))
    follower = (await start(elsewhere, a_caller(user="bob"), CACHED)).run
    reader = asyncio.ensure_future(follow(elsewhere, follower.id, user="bob"))
    await settled()

    replica.process.kill()
    script(world, *CHUNKS)
    await world.worker()
    entries, ending = await reader

    assert (entries, ending.status) == (LOG, Status.COMPLETED)


async def test_a_key_and_a_cache_key_together_join_what_they_can(world: World) -> None:
    replica = world.replica()
    await world.over((await start(replica, request=CACHED)).run)

    hit = await start(replica, request=CACHED, idempotency_key="k")
    again = await start(replica, request=CACHED, idempotency_key="k")

    assert (hit.cache, hit.replayed) == ("hit", False)
    assert (again.run.id, again.replayed, again.run.status) == (hit.run.id, True, Status.COMPLETED)
    assert len(world.provider.calls) == 1


# --- names ------------------------------------------------------------------------------------------------------------

ids = st.text(alphabet="ab:0123456789-", max_size=6)


@given(st.tuples(ids, ids, ids), st.tuples(ids, ids, ids))
def test_no_two_keys_have_the_same_name(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    names = [
        idempotency_name(replace(a_caller(a_tenant(id=tenant)), user=name), key, "f")
        for tenant, name, key in (one, other)
    ]

    assert (names[0] == names[1]) is (one == other)


parts = st.tuples(ids, ids, ids, ids, ids)


@given(parts, parts)
def test_no_two_cached_requests_have_the_same_name(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    names = []
    for tenant, group, provider, model, key in (one, other):
        account = replace(an_account(), tenant=tenant, group=group)
        target = a_target(provider=a_provider(id=provider), sent_model=model)
        names.append(cache_name(account, target, a_request(cache_key=key), extras=True))

    assert (names[0] == names[1]) is (one == other)


def test_each_generation_has_a_name_of_its_own_and_the_first_one_that_of_before() -> None:
    target, request = a_target(), a_request(cache_key="k")
    tenants = [a_tenant(cache_generations=numbers) for numbers in ({}, {"*": 1}, {"staff": 1}, {"*": 1, "staff": 1})]

    names = [
        cache_name(an_account(), target, request, extras=True, generation=tenant.cache_generation("staff"))
        for tenant in tenants
    ]

    assert len(set(names)) == 4
    assert names[0] == cache_name(an_account(), target, request, extras=True)
    assert tenants[2].cache_generation("guests") == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(alphabet='a:"{}é', max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="ab:", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
def test_two_bodies_have_one_fingerprint_if_they_are_the_same_json(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    prints = [fingerprint(a_request(more={"x": value})) for value in (one, other)]

    assert (prints[0] == prints[1]) is same


def test_the_order_of_a_bodys_fields_does_not_matter() -> None:
    one, other = a_request(more={"a": 1, "b": {"c": 2, "d": 3}}), a_request(more={"b": {"d": 3, "c": 2}, "a": 1})

    assert fingerprint(one) == fingerprint(other)


def test_a_name_is_sixty_four_hexadecimal_digits() -> None:
    for name in (fingerprint(a_request()), idempotency_name(a_caller(), "k", "f")):
        assert len(name) == 64
        assert int(name, 16) >= 0
