"""An Idempotency-Key makes a request that is sent again the same request: one run, one answer, paid for once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from domain.errors import InvalidIdempotencyKey
from entrypoints.http.headers import idempotency_key
from tests.http.frames import read_frames
from tests.http.log import Log
from tests.http.member import JSON, Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

KEY = {"Idempotency-Key": "order-66"}
WAITING = {**KEY, "Prefer": "wait=10"}


async def ask(member: Member, surface: Surface, **fields: Any) -> httpx.Response:
    """Ask under the key, and on the group surface wait for the outcome."""
    return await member.post(surface, headers=WAITING if surface is GROUP else KEY, **fields)


# --- the same request again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_same_request_gets_the_same_answer_and_costs_nothing_more(
    member: Member, provider: ProviderProcess, surface: Surface, stream: bool
) -> None:
    first = await ask(member, surface, stream=stream)
    left = await member.replica.available(member.tenant)

    again = await ask(member, surface, stream=stream)

    assert again.status_code == first.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    for name in ("x-completion-id", "content-location", "content-type", "x-sluice-provider"):
        assert again.headers[name] == first.headers[name]
    assert again.headers.get("x-sluice-charged-tokens") == first.headers.get("x-sluice-charged-tokens")
    assert await member.replica.available(member.tenant) == left
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_that_is_under_way_is_joined_from_its_start(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, more=KEY, model="words-n5-i20", stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        again = await member.post(surface, headers=KEY, model="words-n5-i20", stream=True)
        first = await wire.read_all()

    assert again.content == first
    assert again.headers["idempotent-replayed"] == "true"
    assert len(provider.requests()) == 1


async def test_who_asks_again_while_the_answer_is_made_waits_for_it(member: Member, provider: ProviderProcess) -> None:
    first = asyncio.ensure_future(ask(member, TENANT, model="slow-200"))
    await provider.seen_when(lambda seen: len(seen) == 1)

    again = await ask(member, TENANT, model="slow-200")

    assert again.content == (await first).content
    assert len(provider.requests()) == 1


async def test_a_job_that_is_asked_for_again_is_the_same_job_as_it_stands(
    member: Member, provider: ProviderProcess
) -> None:
    job = await member.post(GROUP, headers=KEY)
    await member.fetch(GROUP, job.json()["id"], headers={"Prefer": "wait=10"})

    again = await member.post(GROUP, headers=KEY)

    assert again.json() == {"id": job.json()["id"], "status": "completed", "eta": 0}
    assert again.headers["idempotent-replayed"] == "true"
    assert len(provider.requests()) == 1


async def test_order_and_spacing_of_the_body_do_not_matter(member: Member, provider: ProviderProcess) -> None:
    body = member.body(TENANT, temperature=0.5, seed=7)
    first = await member.send(TENANT, orjson.dumps(body), headers=KEY)

    again = await member.send(
        TENANT, orjson.dumps(dict(reversed(body.items())), option=orjson.OPT_INDENT_2), headers=KEY
    )

    assert again.content == first.content
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_fifty_at_once_are_one_request(
    member: Member, provider: ProviderProcess, surface: Surface, stream: bool
) -> None:
    member.replica.set_balance(member.tenant, 1_000_000)

    answers = await asyncio.gather(*(ask(member, surface, model="words-n5-i20", stream=stream) for _ in range(50)))

    assert len(provider.requests()) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count(None) == 1
    state = await member.fetch(surface, answers[0].headers["x-completion-id"])
    charged = int(state.headers["x-sluice-charged-tokens"])
    assert await member.replica.available(member.tenant) == 1_000_000 - charged
    assert charged > 0


async def test_what_is_replayed_takes_nothing_from_the_tenants_meters(replica: Replica) -> None:
    limits = {"requests_per_minute": 2, "tokens_per_minute": 60_000}
    member = Member(replica, await replica.add_tenant(limits=limits))
    first = await ask(member, TENANT)

    again = [await ask(member, TENANT) for _ in range(3)]

    assert {answer.status_code for answer in again} == {200}
    assert {answer.headers["x-ratelimit-remaining-requests"] for answer in (first, *again)} == {"1"}


async def test_a_replay_is_one_access_line_with_the_run_that_answered(member: Member, json_log: Log) -> None:
    first = await ask(member, TENANT)
    await ask(member, TENANT)

    lines = json_log.of("Request served")
    assert [line["run_id"] for line in lines] == [first.headers["x-completion-id"]] * 2
    assert len(json_log.of("Run completed")) == 1


# --- another request --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [{"messages": [{"role": "user", "content": "Else"}]}, {"stream": True}, {"temperature": 0.5}], ids=str
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_that_was_used_for_another_request_is_refused(
    member: Member, provider: ProviderProcess, surface: Surface, other: dict[str, Any]
) -> None:
    await ask(member, surface)
    left = await member.replica.available(member.tenant)

    answer = await ask(member, surface, **other)

    error = told(answer, surface)
    assert (error.status, error.code) == (422, "idempotency_key_reused")
    assert error.message == "This Idempotency-Key was used with another request."
    assert error.type in (None, "invalid_request_error")
    assert await member.replica.available(member.tenant) == left
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_is_its_users_own(
    replica: Replica, member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    bob = Member(replica, member.tenant, user="bob")
    elsewhere = Member(replica, await replica.add_tenant())

    answers = [await ask(each, surface) for each in (member, bob, elsewhere)]

    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None] * 3
    assert len({answer.headers["x-completion-id"] for answer in answers}) == 3
    assert len(provider.requests()) == 3


async def test_strangers_who_chose_the_same_key_never_meet(member: Member, provider: ProviderProcess) -> None:
    nobody = {"X-Tenant-Id": member.tenant, **WAITING, **JSON}
    bodies = [
        member.body(GROUP, group_id="anonymous", messages=[{"role": "user", "content": text}])
        for text in ("one", "two")
    ]

    answers = [await member.replica.client.post("/v1/chat/completions", json=body, headers=nobody) for body in bodies]

    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == ["one", "two"]
    assert len(provider.requests()) == 2


async def test_a_stranger_who_asks_again_has_the_same_answer(member: Member, provider: ProviderProcess) -> None:
    nobody = {"X-Tenant-Id": member.tenant, **WAITING, **JSON}
    body = member.body(GROUP, group_id="anonymous")

    answers = [await member.replica.client.post("/v1/chat/completions", json=body, headers=nobody) for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert len(provider.requests()) == 1


# --- a key that is given back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_run_that_failed_before_it_cost_anything_gives_the_key_back(
    member: Member, provider: ProviderProcess, surface: Surface, stream: bool
) -> None:
    failed = await ask(member, surface, model="status-503", stream=stream)
    # It is tried again before it is told.
    asked = len(provider.requests())

    again = await ask(member, surface, model="status-503", stream=stream)

    assert told(failed, surface).code == told(again, surface).code
    assert again.headers["x-completion-id"] != failed.headers["x-completion-id"]
    assert "idempotent-replayed" not in again.headers
    assert len(provider.requests()) == 2 * asked


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_refused_request_gives_the_key_back(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    member.replica.set_balance(member.tenant, 0)
    refused = await ask(member, surface)
    member.replica.set_balance(member.tenant, 10_000)

    answer = await ask(member, surface)

    assert refused.status_code == 429
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_refused_request_does_not_even_keep_the_key_from_another_body(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 0)
    await ask(member, surface)
    member.replica.set_balance(member.tenant, 10_000)

    answer = await ask(member, surface, temperature=0.5)

    assert answer.status_code == 200


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_failure_that_was_paid_for_is_told_again(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    first = await ask(member, surface, model="cut-mid-n2", stream=True)
    asked = len(provider.requests())

    again = await ask(member, surface, model="cut-mid-n2", stream=True)

    assert again.content == first.content
    assert read_frames(again.content)[-1].json["error"]["code"] == "upstream_truncated"
    assert len(provider.requests()) == asked


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_was_cancelled_is_not_begun_again(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, more=KEY, model="stall-n2", stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        await member.cancel(surface, wire.run_id)
        first = await wire.read_all()

    again = await member.post(surface, headers=KEY, model="stall-n2", stream=True)

    assert again.content == first
    assert len(provider.requests()) == 1


async def test_a_whole_answer_that_was_cancelled_stays_so(member: Member, provider: ProviderProcess) -> None:
    waiting = asyncio.ensure_future(ask(member, TENANT, model="hang", conversation_id="talk"))
    await provider.seen_when(lambda seen: len(seen) == 1)
    await member.cancel(TENANT, "talk")

    again = await ask(member, TENANT, model="hang", conversation_id="talk")

    message = "The completion was cancelled."
    assert as_openai(again) == Told(410, "completion_cancelled", message, "invalid_request_error")
    assert as_openai(await waiting) == as_openai(again)


@pytest.fixture(scope="module")
async def brief(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that gives a provider little time."""
    async with running(process, first_byte_seconds=0.3) as started:
        yield started


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_shared_answer_that_failed_gives_the_followers_key_back_too(
    brief: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    member = Member(brief, await brief.add_tenant())
    shared: dict[str, Any] = {"model": "hang", "stream": True, "cache_key": "k"}
    source = asyncio.ensure_future(member.post(surface, **shared))
    await provider.seen_when(lambda seen: len(seen) == 1)
    failed = await ask(member, surface, **shared)

    again = await ask(member, surface, **shared)

    assert told(failed, surface).code == told(await source, surface).code == "upstream_timeout"
    assert (failed.headers["x-cache"], again.headers["x-cache"]) == ("shared", "miss")
    assert "idempotent-replayed" not in again.headers
    assert len(provider.requests()) == 2


# --- keys that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "x" * 256, "Ünïcode", "tab\tinside", "\u0661", "bell\x07", "\x7f"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_that_is_none_is_refused_before_anything_is_spent(
    member: Member, provider: ProviderProcess, surface: Surface, key: str
) -> None:
    member.replica.set_balance(member.tenant, 1_000)
    body = orjson.dumps(member.body(surface))
    headers = [*(JSON | member.headers(surface)).items(), ("Idempotency-Key", key)]
    encoded = [(name.encode(), value.encode()) for name, value in headers]

    answer = await member.replica.client.post(surface.path(member.tenant), content=body, headers=encoded)

    error = told(answer, surface)
    if error.code == "bad_request":
        # No header can hold it.
        assert any(not " " <= character < "\x7f" for character in key)
        return
    assert (error.status, error.code) == (400, "invalid_idempotency_key")
    assert error.message == "An Idempotency-Key has 1 to 255 printable ASCII characters."
    assert error.type in (None, "invalid_request_error")
    assert await member.replica.available(member.tenant) == 1_000
    assert provider.requests() == []


@pytest.mark.parametrize("key", ["a", " ", "~", "x" * 255, "a b", '"quoted"', "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_a_key_is_taken_as_it_stands(key: str) -> None:
    assert idempotency_key({"idempotency-key": key}) == key


def test_who_sends_no_key_has_none() -> None:
    assert idempotency_key({}) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "\n", "a\n", "\x00", "\x1f", "\x7f", "\x80", "💥", "\u2028"])
def test_what_is_not_printable_ascii_is_no_key(key: str) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        idempotency_key({"idempotency-key": key})
