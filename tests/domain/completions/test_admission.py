"""Admission: every check, in the order that callers can rely on, and nothing spent before all have passed."""

from dataclasses import replace

import pytest

from adapters.memory.share import LocalShare
from domain.chat import ChatRequest
from domain.completions.admission import HOLD_SECONDS
from domain.completions.till import SeparateTill
from domain.errors import (
    ContextLengthExceeded,
    InsufficientTokens,
    InvalidGroup,
    InvalidRequest,
    ModelNotSupported,
    NoApiKey,
    RateLimited,
    SluiceError,
    StoreUnavailable,
    TenantMisconfigured,
)
from domain.images import ImageRule
from domain.ledger import Hold
from domain.limits import charges
from domain.tenants import Caller, Group
from domain.tokens import TYPICAL_COMPLETION, TokenPolicy
from tests.builders import (
    RUN_ID,
    a_caller,
    a_model,
    a_planner,
    a_provider,
    a_request,
    a_tenant,
    an_account,
    limits,
    user,
)
from tests.domain.completions.world import INITIAL, PROMPT, World
from tests.fakes import ListJournal

pytestmark = pytest.mark.anyio

LONG = "word " * 2_000
OPTIONS = {"openai": {"resource": "acme"}}


@pytest.fixture
def world() -> World:
    """A world whose provider's address is the tenant's to complete."""
    return World(
        planner=a_planner((a_provider(base_url="https://{resource}.example.com/v1", variables=("resource",)),))
    )


def a_good_caller(**changes: object) -> Caller:
    return a_caller(a_tenant(**{"provider_options": OPTIONS, **changes}))


async def refusal_of(world: World, caller: Caller, request: ChatRequest) -> SluiceError:
    with pytest.raises(SluiceError) as refusal:
        await world.admission().admit(caller, request, RUN_ID)
    return refusal.value


async def empty_the_meter(world: World, caller: Caller) -> None:
    await world.limiter.wrapped.take(caller.tenant.id, charges(caller.tenant, an_account(), tokens=0, cost=0))


# --- the order --------------------------------------------------------------------------------------------------------


async def test_a_request_wrong_in_every_way_is_told_one_thing_after_another(world: World) -> None:
    tenant = a_tenant(api_keys={}, limits=limits(requests=1))
    caller = a_caller(tenant, group="interns")
    request = a_request(user(LONG), model="gpt-0", provider="nowhere")
    await empty_the_meter(world, caller)
    world.ledger.wrapped.overwrite(an_account(), 0)
    told: list[type[SluiceError]] = []

    async def ask() -> None:
        told.append(type(await refusal_of(world, caller, request)))

    await ask()
    request = replace(request, provider=None)
    await ask()
    request = replace(request, model="gpt-4o")
    await ask()
    request = replace(a_request(), model="gpt-4o")
    await ask()
    caller = replace(caller, group="staff")
    await ask()
    caller = replace(caller, tenant=replace(tenant, api_keys={"openai": ("sk-acme",)}))
    await ask()
    caller = replace(caller, tenant=replace(caller.tenant, provider_options=OPTIONS))
    await ask()
    world.clock.advance(60.0)
    await ask()
    world.ledger.wrapped.overwrite(an_account(), INITIAL)
    world.clock.advance(60.0)
    admitted = await world.admission().admit(caller, request, RUN_ID)

    assert told == [
        InvalidRequest,
        ModelNotSupported,
        ContextLengthExceeded,
        InvalidGroup,
        NoApiKey,
        TenantMisconfigured,
        RateLimited,
        InsufficientTokens,
    ]
    assert admitted.hold.id == RUN_ID


@pytest.mark.parametrize(
    ("caller", "request_", "refusal"),
    [
        (a_good_caller(), a_request(provider="nowhere"), InvalidRequest),
        (a_good_caller(default_provider=None), a_request(), InvalidRequest),
        (a_good_caller(), a_request(model="gpt-0"), ModelNotSupported),
        (a_good_caller(allowed_models=("o1",)), a_request(), ModelNotSupported),
        (a_good_caller(), a_request(user(LONG)), ContextLengthExceeded),
        (a_good_caller(), a_request(completion_bound=993), ContextLengthExceeded),
        (replace(a_good_caller(), group="interns"), a_request(), InvalidGroup),
        (replace(a_good_caller(), group=None), a_request(), InvalidGroup),
        (a_good_caller(api_keys={}), a_request(), NoApiKey),
        (a_good_caller(provider_options={}), a_request(), TenantMisconfigured),
    ],
)
async def test_each_flaw_alone_is_told_and_costs_nothing(
    world: World, caller: Caller, request_: ChatRequest, refusal: type[SluiceError]
) -> None:
    told = await refusal_of(world, caller, request_)

    assert type(told) is refusal
    assert (world.limiter.calls.total(), world.ledger.calls.total()) == (0, 0)


async def test_a_prompt_may_fill_the_window_to_the_last_token(world: World) -> None:
    admitted = await world.admission().admit(a_good_caller(), a_request(completion_bound=992), RUN_ID)

    assert admitted.prepared.prompt_tokens == PROMPT


async def test_a_request_beyond_the_rate_is_told_when_to_come_back_and_is_not_reserved(world: World) -> None:
    caller = a_good_caller(limits=limits(requests=1))
    await empty_the_meter(world, caller)

    refusal = await refusal_of(world, caller, a_request())

    assert isinstance(refusal, RateLimited)
    assert refusal.verdict.retry_after == pytest.approx(60.0)
    assert world.ledger.calls.total() == 0


async def test_a_request_beyond_the_balance_is_told_what_is_left(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), -7)

    refusal = await refusal_of(world, a_good_caller(), a_request())

    assert isinstance(refusal, InsufficientTokens)
    assert refusal.available == -7
    assert await world.balance() == -7


@pytest.mark.parametrize("away", ["limiter", "ledger"])
async def test_where_rate_or_balance_cannot_be_told_nothing_is_admitted(world: World, away: str) -> None:
    if away == "limiter":
        world.limiter.fail("take")
    else:
        world.ledger.fail("hold", times=99)

    refusal = await refusal_of(world, a_good_caller(limits=limits(requests=9)), a_request())

    assert type(refusal) is StoreUnavailable
    assert (world.ledger.calls["hold"] > 0) == (away == "ledger")


async def test_a_hold_whose_reply_was_lost_is_asked_for_again_and_is_one(world: World) -> None:
    world.ledger.lose_replies("hold")

    admitted = await world.admission().admit(a_good_caller(), a_request(), RUN_ID)

    assert world.ledger.calls["hold"] == 2
    assert await world.balance() == INITIAL - admitted.hold.amount


# --- what is counted ----------------------------------------------------------------------------------------------


async def test_the_prompt_is_counted_with_the_models_vocabulary_and_its_rule_for_images() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    model = a_model(tokenizer="cl100k_base", images=ImageRule("flat", tokens=50))
    world = World(planner=a_planner(models=(model,)))

    admitted = await world.admission().admit(
        a_caller(), a_request(user([{"type": "text", "text": "Hi"}, picture])), RUN_ID
    )

    assert admitted.prepared.prompt_tokens == PROMPT + 50
    assert world.tokenizer.vocabularies == ["cl100k_base"]


async def test_the_target_is_complete(world: World) -> None:
    admitted = await world.admission().admit(a_good_caller(), a_request(), RUN_ID)

    assert (admitted.prepared.target.key, admitted.prepared.target.base_url) == (
        "sk-acme",
        "https://acme.example.com/v1",
    )
    assert admitted.prepared.target.sent_model == "gpt-4o"


# --- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (a_request(), PROMPT + 100),
        (a_request(completion_bound=30), PROMPT + 30),
        (a_request(completion_bound=30, choices=2), PROMPT + 60),
        (a_request(completion_bound=300), PROMPT + 100),
    ],
)
async def test_the_most_that_a_request_can_cost_is_held(world: World, request_: ChatRequest, wanted: int) -> None:
    admitted = await world.admission().admit(a_good_caller(), request_, RUN_ID)

    assert admitted.hold == Hold(RUN_ID, wanted)
    assert admitted.prepared.account == an_account()
    assert await world.balance() == INITIAL - wanted


async def test_a_request_that_costs_more_than_there_is_gets_what_there_is(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 5)

    admitted = await world.admission().admit(a_good_caller(), a_request(), RUN_ID)

    assert admitted.hold.amount == 5
    assert admitted.completion_bound is None
    assert await world.balance() == 0


async def test_under_the_strict_policy_the_prompt_must_be_payable_and_the_answer_is_bounded(world: World) -> None:
    caller = a_good_caller(policy=TokenPolicy.STRICT)

    world.ledger.wrapped.overwrite(an_account(), PROMPT)
    refusal = await refusal_of(world, caller, a_request())
    world.ledger.wrapped.overwrite(an_account(), PROMPT + 3)
    admitted = await world.admission().admit(caller, a_request(), RUN_ID)

    assert isinstance(refusal, InsufficientTokens)
    assert (admitted.hold.amount, admitted.completion_bound) == (PROMPT + 3, 3)


async def test_a_caller_without_a_balance_takes_nothing_from_the_tenants_meters(world: World) -> None:
    poor = replace(a_good_caller(limits=limits(requests=2, tokens=5_000)), user="poor")
    rich = replace(poor, user="ann")
    world.ledger.wrapped.overwrite(an_account(user="poor"), 0)

    refusals = [await refusal_of(world, poor, a_request()) for _ in range(5)]
    admitted = await world.admission().admit(rich, a_request(), RUN_ID)

    assert {type(refusal) for refusal in refusals} == {InsufficientTokens}
    assert [reading.remaining for reading in admitted.verdict.readings] == [1, 5_000 - admitted.prepared.estimate]


async def test_a_meter_that_cannot_be_given_back_does_not_hide_the_empty_balance(world: World) -> None:
    world.ledger.wrapped.overwrite(an_account(), 0)
    world.limiter.fail("correct", times=9)

    refusal = await refusal_of(world, a_good_caller(limits=limits(requests=9, tokens=5_000)), a_request())

    assert isinstance(refusal, InsufficientTokens)


async def test_while_no_balance_can_be_told_nothing_of_a_replicas_share_is_used_up(world: World) -> None:
    share = LocalShare(world.limiter.port, world.clock, ListJournal(), replicas=1)
    admission = replace(world.admission(), limiter=share, till=SeparateTill(share, world.ledger.port, world.store.port))
    caller = a_good_caller(limits=limits(requests=2, tokens=5_000))
    world.limiter.fail("take", times=99)
    world.ledger.fail("hold", times=99)

    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await admission.admit(caller, a_request(), RUN_ID)
    world.ledger.fail("hold", times=0)
    admitted = await admission.admit(caller, a_request(), RUN_ID)

    assert admitted.verdict.local
    assert [reading.remaining for reading in admitted.verdict.readings] == [1, 5_000 - admitted.prepared.estimate]


async def test_the_meters_are_charged_one_request_and_a_likely_number_of_tokens() -> None:
    world = World(planner=a_planner(models=(a_model(max_output_tokens=None, context_window=None),)))
    caller = a_caller(a_tenant(limits=limits(requests=10, tokens=5_000)))

    admitted = await world.admission().admit(caller, a_request(), RUN_ID)

    assert admitted.prepared.estimate == PROMPT + TYPICAL_COMPLETION
    assert [(reading.what, reading.remaining) for reading in admitted.verdict.readings] == [
        ("requests", 9),
        ("tokens", 5_000 - admitted.prepared.estimate),
    ]


async def test_a_hold_comes_back_by_itself_when_a_run_must_long_have_ended(world: World) -> None:
    await world.admission().admit(a_good_caller(), a_request(), RUN_ID)

    world.clock.advance(HOLD_SECONDS - 1)
    before = await world.balance()
    world.clock.advance(1)

    assert (before, await world.balance()) == (INITIAL - PROMPT - 100, INITIAL)


@pytest.mark.parametrize(
    ("group", "user", "a_day_later"),
    [("staff", "ann", 40), ("anonymous", "ann", 40), ("anonymous", "anonymous-1", 0), ("staff", "anonymous-1", 40)],
)
async def test_members_accounts_last_and_those_of_nobody_in_particular_do_not(
    world: World, group: str, user: str, a_day_later: int
) -> None:
    caller = replace(a_good_caller(groups={group: Group(group, initial_tokens=50)}), group=group, user=user)
    admitted = await world.admission().admit(caller, a_request(), RUN_ID)
    await world.ledger.wrapped.settle(admitted.prepared.account, RUN_ID, 10)

    world.clock.advance(86_401.0)

    assert await world.ledger.wrapped.available(admitted.prepared.account) == a_day_later
