"""Answers by cache key: one call of the provider for any number of equal requests, at once or one after another."""

import asyncio
from typing import Any

import httpx
import pytest

from domain.chat import JsonObject
from tests.http.frames import Stream, read_frames, read_stream
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.strict import require_chunk, require_completion
from tests.http.surfaces import GROUP, PROVIDER, TENANT, Surface
from tests.http.told import as_openai, told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess
from tests.provider.talk import WEATHER

#: The surfaces that take the field.
CACHED = pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
KEY: dict[str, Any] = {"cache_key": "intro-conversation-v1"}


def said(answer: httpx.Response) -> str:
    """The text of an answer, whole or streamed, that came to its end."""
    if answer.headers["content-type"] != "text/event-stream":
        text: str = answer.json()["choices"][0]["message"]["content"]
        return text
    stream = read_stream(answer)
    assert stream.is_done
    return stream.text()


async def ask(member: Member, surface: Surface, *, stream: bool = False, **fields: Any) -> httpx.Response:
    """The completion or its whole stream."""
    if stream:
        return await member.post(surface, stream=True, **{**KEY, **fields})
    return await member.whole(surface, **{**KEY, **fields})


# --- a hit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again_stream", [False, True], ids=["whole again", "stream again"])
@pytest.mark.parametrize("first_stream", [False, True], ids=["whole", "stream"])
@CACHED
async def test_an_answer_that_is_kept_is_given_again_whole_and_as_a_stream(
    member: Member, provider: ProviderProcess, surface: Surface, first_stream: bool, again_stream: bool
) -> None:
    first = await ask(member, surface, stream=first_stream, model="words-n5")

    again = await ask(member, surface, stream=again_stream, model="words-n5")

    assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
    assert said(first) == said(again) == "w0 w1 w2 w3 w4"
    assert len(provider.requests()) == 1


@CACHED
async def test_a_hit_costs_nothing_and_says_so(member: Member, surface: Surface) -> None:
    first = await ask(member, surface)
    left = await member.replica.available(member.tenant)

    again = await ask(member, surface)
    state = await member.fetch(surface, again.headers["x-completion-id"])

    assert int(first.headers["x-sluice-charged-tokens"]) > 0
    assert again.headers["x-sluice-charged-tokens"] == "0"
    assert state.headers["x-sluice-charged-tokens"] == "0"
    assert await member.replica.available(member.tenant) == left


@CACHED
async def test_a_hit_needs_no_balance(member: Member, surface: Surface) -> None:
    await ask(member, surface)
    member.replica.set_balance(member.tenant, 0)

    again = await ask(member, surface)

    assert (again.status_code, again.headers["x-cache"]) == (200, "hit")


@CACHED
async def test_a_hit_counts_as_a_request_and_not_by_its_tokens(replica: Replica, surface: Surface) -> None:
    limits = {"requests_per_minute": 60, "tokens_per_minute": 600_000}
    member = Member(replica, await replica.add_tenant(limits=limits))
    await ask(member, surface, max_tokens=100_000)

    await ask(member, surface, max_tokens=100_000)
    third = await ask(member, surface, max_tokens=100_000)

    assert third.headers["x-cache"] == "hit"
    assert third.headers["x-ratelimit-remaining-requests"] == "57"
    later = await member.post(TENANT)
    assert int(later.headers["x-ratelimit-remaining-tokens"]) > 500_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@CACHED
async def test_each_has_ids_of_its_own_and_the_same_answer(member: Member, surface: Surface, stream: bool) -> None:
    answers = [await ask(member, surface, stream=stream, model="words-n3") for _ in range(3)]

    bodies: list[JsonObject] = [read_frames(each.content)[0].json if stream else each.json() for each in answers]
    assert len({answer.headers["x-completion-id"] for answer in answers}) == 3
    assert len({body["id"] for body in bodies}) == 3
    assert all(str(body["id"]).startswith(surface.id_prefix) for body in bodies)
    assert len({said(answer) for answer in answers}) == 1
    for answer in answers:
        assert answer.headers["content-location"].endswith(answer.headers["x-completion-id"])


@CACHED
async def test_a_hit_is_a_completion_to_the_letter(member: Member, surface: Surface) -> None:
    first = (await ask(member, surface)).json()

    again = (await ask(member, surface)).json()

    require_completion(again)
    own = ("id", "created")
    assert {k: v for k, v in again.items() if k not in own} == {k: v for k, v in first.items() if k not in own}


@pytest.mark.parametrize("first_stream", [False, True], ids=["after whole", "after stream"])
@CACHED
async def test_a_hit_is_a_stream_to_the_letter(member: Member, surface: Surface, first_stream: bool) -> None:
    await ask(member, surface, stream=first_stream, n=2)

    frames = read_frames((await ask(member, surface, stream=True, n=2)).content)

    *chunks, done = frames
    assert done.data == "[DONE]"
    for frame in chunks:
        require_chunk(frame.json)
        assert "usage" not in frame.json
    assert len({frame.json["id"] for frame in chunks}) == 1


@pytest.mark.parametrize("first_asked", [False, True], ids=["first without usage", "first with usage"])
@CACHED
async def test_usage_is_shown_to_who_asked_for_it(member: Member, surface: Surface, first_asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}}

    streams = [
        Stream(answer, read_frames(answer.content))
        for asked in (first_asked, not first_asked)
        for answer in [await ask(member, surface, stream=True, **(options if asked else {}))]
    ]

    with_usage, without = streams if first_asked else reversed(streams)
    assert with_usage.chunks[-1]["choices"] == []
    assert with_usage.chunks[-1]["usage"]["total_tokens"] == 8
    assert all(chunk["usage"] is None for chunk in with_usage.chunks[:-1])
    assert not any("usage" in chunk for chunk in without.chunks)
    assert {stream.headers["x-cache"] for stream in streams} == {"miss", "hit"}


@pytest.mark.parametrize("first_stream", [False, True], ids=["after whole", "after stream"])
@CACHED
async def test_a_hit_can_be_fetched_and_resumed_like_any_run(
    member: Member, surface: Surface, first_stream: bool
) -> None:
    await ask(member, surface, stream=first_stream, model="words-n3")
    hit = await ask(member, surface, stream=True, model="words-n3")
    run_id, frames = hit.headers["x-completion-id"], read_frames(hit.content)

    state = await member.fetch(surface, run_id)
    again = await member.fetch(surface, run_id, stream="true")
    rest = await member.fetch(surface, run_id, stream="true", starting_after=frames[0].id)
    nothing = await member.fetch(surface, run_id, stream="true", starting_after=frames[-1].id)

    assert state.json()["status"] == "completed"
    assert state.json()["choices"][0]["message"]["content"] == "w0 w1 w2"
    assert state.json()["id"] == frames[0].json["id"]
    assert again.content == hit.content
    assert rest.content.removeprefix(b"retry: 2000\n") == b"".join(frame.wire for frame in frames[1:])
    assert nothing.status_code == 204


@CACHED
async def test_a_hit_has_the_lines_of_a_request(member: Member, json_log: Log, surface: Surface) -> None:
    await ask(member, surface)
    hit = await ask(member, surface)

    line = json_log.of("Request served")[-1]
    assert (line["run_id"], line["charged_tokens"]) == (hit.headers["x-completion-id"], 0)
    assert (line["tenant"], line["provider"], line["status_code"]) == (member.tenant, "scripted", 200)


# --- at the same time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_stream", [False, True], ids=["first whole", "first stream"])
@CACHED
async def test_a_hundred_at_once_are_one_call_and_a_hundred_answers(
    member: Member, provider: ProviderProcess, surface: Surface, first_stream: bool
) -> None:
    member.replica.set_balance(member.tenant, 1_000_000)

    answers = await asyncio.gather(
        *(
            ask(member, surface, stream=bool(number % 2) is not first_stream, model="words-n9-i20")
            for number in range(100)
        )
    )

    assert len(provider.requests()) == 1
    assert {said(answer) for answer in answers} == {"w0 w1 w2 w3 w4 w5 w6 w7 w8"}
    assert len({answer.headers["x-completion-id"] for answer in answers}) == 100
    had = [answer.headers["x-cache"] for answer in answers]
    assert had.count("miss") == 1
    # Whoever came when it was all there already was not too late.
    assert set(had) <= {"miss", "shared", "hit"}
    states = [await member.fetch(surface, answer.headers["x-completion-id"]) for answer in answers]
    charged = sorted(int(state.headers["x-sluice-charged-tokens"]) for state in states)
    assert charged[:99] == [0] * 99
    assert await member.replica.available(member.tenant) == 1_000_000 - charged[99] < 1_000_000


@CACHED
async def test_who_comes_in_mid_stream_gets_all_of_it(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, **KEY, model="words-n6-i100", stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w2")
        second = await ask(member, surface, stream=True, model="words-n6-i100")
        first = read_frames(await wire.read_all())

    frames = read_frames(second.content)
    assert second.headers["x-cache"] == "shared"
    assert [frame.json["choices"] for frame in frames[:-1]] == [frame.json["choices"] for frame in first[:-1]]
    assert [frame.number for frame in frames] == [frame.number for frame in first]
    assert {frame.id.partition(":")[0] for frame in frames} == {second.headers["x-completion-id"]}
    assert len(provider.requests()) == 1


@CACHED
async def test_an_answer_that_fails_fails_for_all_who_share_it_and_for_nobody_later(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    answers = await asyncio.gather(*(ask(member, surface, stream=True, model="cut-mid-n2-i200") for _ in range(5)))
    # What was cut is tried once more.
    asked = len(provider.requests())

    later = await ask(member, surface, stream=True, model="cut-mid-n2-i200")

    ends = [read_frames(answer.content)[-1].json["error"]["code"] for answer in answers]
    assert ends == ["upstream_truncated"] * 5
    assert later.headers["x-cache"] == "miss"
    assert (asked, len(provider.requests())) == (2, 4)


@CACHED
async def test_an_answer_goes_on_for_the_others_when_the_first_leaves(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, **KEY, model="words-n6-i100", stream=True) as wire:
        await wire.read_head()
        second = asyncio.ensure_future(ask(member, surface, stream=True, model="words-n6-i100"))
        await wire.read_until(b"w1")
        wire.leave()

    assert said(await second) == "w0 w1 w2 w3 w4 w5"
    assert len(provider.requests()) == 1


# --- what is not kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "fields",
    [
        {"model": "tools", "tools": [WEATHER]},
        {"model": "tools", "functions": [WEATHER["function"]]},
        {"model": "words-n9", "max_tokens": 3},
        {"model": "finish-content_filter"},
    ],
    ids=["tool calls", "a function call", "cut at the bound", "filtered"],
)
@CACHED
async def test_an_answer_that_is_not_a_plain_whole_one_is_not_kept(
    member: Member, provider: ProviderProcess, surface: Surface, fields: dict[str, Any], stream: bool
) -> None:
    await ask(member, surface, stream=stream, **fields)

    again = await ask(member, surface, stream=stream, **fields)

    assert (again.status_code, again.headers["x-cache"]) == (200, "miss")
    assert len(provider.requests()) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["status-500", "error-context", "cut-mid-n2", "no-choices"])
@CACHED
async def test_a_failure_is_not_kept(
    member: Member, provider: ProviderProcess, surface: Surface, model: str, stream: bool
) -> None:
    await ask(member, surface, stream=stream, model=model)
    # Some are tried again before they are told.
    asked = len(provider.requests())

    again = await ask(member, surface, stream=stream, model=model)

    assert again.headers["x-cache"] == "miss"
    assert len(provider.requests()) == 2 * asked


@CACHED
async def test_what_was_cancelled_is_not_kept(member: Member, provider: ProviderProcess, surface: Surface) -> None:
    async with asking(member, surface, **KEY, model="stall-n2", stream=True) as wire:
        await wire.read_head()
        await member.cancel(surface, wire.run_id)
        await wire.read_all()

    async with asking(member, surface, **KEY, model="stall-n2", stream=True) as wire:
        head = await wire.read_head()
        await member.cancel(surface, wire.run_id)

    assert b"X-Cache: miss" in head
    assert len(provider.requests()) == 2


# --- whose answer it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"cache_key": "another"},
        {"messages": [{"role": "user", "content": "Something else"}]},
        {"model": "words-n3"},
        {"temperature": 0.3},
        {"seed": 1},
        {"x_unknown": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
@CACHED
async def test_another_request_never_gets_the_answer(
    member: Member, provider: ProviderProcess, surface: Surface, changes: dict[str, Any]
) -> None:
    await ask(member, surface)

    other = await ask(member, surface, **changes)

    assert other.headers["x-cache"] == "miss"
    assert len(provider.requests()) == 2


@CACHED
async def test_another_tenant_never_gets_the_answer(
    replica: Replica, member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    elsewhere = Member(replica, await replica.add_tenant())
    await ask(member, surface)

    other = await ask(elsewhere, surface)

    assert other.headers["x-cache"] == "miss"
    assert len(provider.requests()) == 2


@CACHED
async def test_another_group_never_gets_the_answer(
    replica: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    groups = {"staff": {"initial_tokens": 10_000}, "guests": {"initial_tokens": 10_000}}
    member = Member(replica, await replica.add_tenant(groups=groups))
    guest = Member(replica, member.tenant, user="guest", group="guests")
    await ask(member, surface)

    in_group: dict[str, Any] = {"group_id": "guests"} if surface is GROUP else {}
    other = await ask(guest, surface, **in_group)

    assert (other.status_code, other.headers["x-cache"]) == (200, "miss")
    assert len(provider.requests()) == 2


@CACHED
async def test_others_of_the_group_do_get_it_and_cannot_see_its_run(
    replica: Replica, member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    bob = Member(replica, member.tenant, user="bob")
    first = await ask(member, surface)

    hit = await ask(bob, surface)
    own = await bob.fetch(surface, hit.headers["x-completion-id"])
    anothers = await bob.fetch(surface, first.headers["x-completion-id"])

    assert hit.headers["x-cache"] == "hit"
    assert own.json()["status"] == "completed"
    assert told(anothers, surface).code == "completion_not_found"
    assert len(provider.requests()) == 1


async def test_an_answer_is_the_same_on_both_surfaces(member: Member, provider: ProviderProcess) -> None:
    at_group = await ask(member, GROUP)

    at_tenant = await ask(member, TENANT)

    assert (at_group.headers["x-cache"], at_tenant.headers["x-cache"]) == ("miss", "hit")
    assert at_tenant.json()["id"].startswith("conv-")
    assert len(provider.requests()) == 1


@CACHED
async def test_the_default_model_and_the_same_by_name_are_one_request(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    await ask(member, surface)

    named = await ask(member, surface, model="echo")

    assert named.headers["x-cache"] == "hit"
    assert len(provider.requests()) == 1


# --- how long ---------------------------------------------------------------------------------------------------------


@CACHED
async def test_a_tenant_without_a_cache_asks_each_time(
    replica: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    member = Member(replica, await replica.add_tenant(cache_seconds=0))

    answers = await asyncio.gather(*(ask(member, surface) for _ in range(3)))

    assert [answer.headers["x-cache"] for answer in answers] == ["miss"] * 3
    assert len(provider.requests()) == 3


@CACHED
async def test_an_answer_is_kept_as_long_as_the_tenant_says(
    replica: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    member = Member(replica, await replica.add_tenant(cache_seconds=0.001))
    await ask(member, surface)

    later = await ask(member, surface)

    assert later.headers["x-cache"] == "miss"
    assert len(provider.requests()) == 2


async def test_the_provider_surface_does_not_take_the_field(member: Member) -> None:
    answer = await member.post(PROVIDER, **KEY)

    assert (as_openai(answer).status, as_openai(answer).code) == (422, "unknown_parameter")
