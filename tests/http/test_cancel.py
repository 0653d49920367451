"""A run that is cancelled: it stops upstream, what was produced is settled, and every reader is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import StoreUnavailable
from tests.http.frames import read_frames
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, told
from tests.http.waiting import until
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

#: What a stream says before it falls silent.
STALLED = "stall-n2"


@pytest.fixture
async def narrow(process: ProviderProcess) -> AsyncIterator[Member]:
    """A member at a replica that does one job at a time."""
    async with running(process, job_slots=1) as replica:
        yield Member(replica, await replica.add_tenant())


async def announced(log: Log) -> str:
    """The run that was asked for, as the log has it: a whole answer tells its id only at its end."""

    async def met() -> bool:
        return "Processing" in log.text

    await until(met)
    return next(str(record["run_id"]) for record in log.records if record["message"].startswith("Processing"))


# --- a stream ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cancelled_stream_ends_with_an_error_that_says_so(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        await member.cancel(surface, wire.run_id)
        frames = read_frames(await wire.read_all())

    assert frames[-1].json == {
        "error": {
            "message": "The completion was cancelled.",
            "type": "invalid_request_error",
            "param": None,
            "code": "completion_cancelled",
        }
    }
    assert "".join(frame.json["choices"][0]["delta"].get("content", "") for frame in frames[:-1]) == "w0 w1 "


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cancelled_stream_is_no_longer_asked_of_the_provider(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        await member.cancel(surface, wire.run_id)

        (asked,) = await provider.seen_when(lambda seen: [each.disconnected for each in seen] == [True])

    assert asked.events == 3


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_a_cancelled_stream_said_is_paid_for(member: Member, json_log: Log, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 1_000)
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        cancelled = await member.cancel(surface, wire.run_id)
        await wire.read_all()

    charged = int(cancelled.headers["x-sluice-charged-tokens"])
    fetched = await member.fetch(surface, wire.run_id)
    line = json_log.of("Run cancelled")[0]
    prompt_tokens = 13
    assert charged > prompt_tokens
    assert fetched.headers["x-sluice-charged-tokens"] == str(charged)
    assert await member.replica.available(member.tenant) == 1_000 - charged
    assert (line["level"], line["charged_tokens"], line["error_code"]) == ("INFO", charged, "completion_cancelled")


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_answer_to_a_cancel_is_the_state_as_get_tells_it(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        frames = read_frames(await wire.read_until(b"w1"))
        cancelled = await member.cancel(surface, wire.run_id)

    fetched = await member.fetch(surface, wire.run_id)
    assert cancelled.status_code == 200
    assert cancelled.json() == {"id": frames[0].json["id"], "status": "cancelled"}
    assert fetched.json() == cancelled.json()
    for name in ("x-completion-id", "x-sluice-provider", "content-location", "x-sluice-charged-tokens"):
        assert cancelled.headers[name] == fetched.headers[name]
    assert cancelled.headers["content-location"] == f"{surface.path(member.tenant)}/{wire.run_id}"
    assert cancelled.headers["x-request-id"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_cancelling_again_changes_nothing(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        answers = await asyncio.gather(*(member.cancel(surface, wire.run_id) for _ in range(5)))
    left = await member.replica.available(member.tenant)

    again = await member.cancel(surface, wire.run_id)

    assert {answer.content for answer in answers} == {again.content}
    assert {answer.headers["x-sluice-charged-tokens"] for answer in answers} == {
        again.headers["x-sluice-charged-tokens"]
    }
    assert await member.replica.available(member.tenant) == left


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cancelled_stream_can_be_read_again_up_to_its_error(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        await member.cancel(surface, wire.run_id)
        body = await wire.read_all()
    frames = read_frames(body)

    again = await member.fetch(surface, wire.run_id, stream="true")
    rest = await member.fetch(surface, wire.run_id, stream="true", starting_after=frames[1].id)
    beyond = await member.fetch(surface, wire.run_id, stream="true", starting_after=frames[-1].id)

    assert again.content == body
    assert rest.content.removeprefix(b"retry: 2000\n") == b"".join(frame.wire for frame in frames[2:])
    assert beyond.status_code == 204


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_every_reader_of_a_cancelled_stream_is_told_the_same(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        second = asyncio.ensure_future(member.fetch(surface, wire.run_id, stream="true"))
        waiting = asyncio.ensure_future(member.fetch(surface, wire.run_id, headers={"Prefer": "wait=10"}))
        await member.cancel(surface, wire.run_id)
        body = await wire.read_all()

    assert (await second).content == body
    assert (await waiting).json()["status"] == "cancelled"


# --- an answer that comes whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_who_waits_for_an_answer_that_is_cancelled_is_told(
    member: Member, provider: ProviderProcess, json_log: Log, surface: Surface
) -> None:
    member.replica.set_balance(member.tenant, 1_000)
    waiting = asyncio.ensure_future(member.post(surface, model="hang"))
    await provider.seen_when(lambda seen: len(seen) == 1)

    state = await member.cancel(surface, await announced(json_log))

    error = as_openai(await waiting)
    assert error == Told(410, "completion_cancelled", "The completion was cancelled.", "invalid_request_error")
    assert state.json()["status"] == "cancelled"
    await provider.seen_when(lambda seen: seen[0].disconnected)
    # Nothing came of it, so nothing is paid.
    assert state.headers["x-sluice-charged-tokens"] == "0"
    assert await member.replica.available(member.tenant) == 1_000


async def test_a_stream_that_is_cancelled_before_its_first_event_is_an_http_error(
    member: Member, provider: ProviderProcess, json_log: Log
) -> None:
    waiting = asyncio.ensure_future(member.post(GROUP, model="hang", stream=True))
    await provider.seen_when(lambda seen: len(seen) == 1)

    await member.cancel(GROUP, await announced(json_log))

    assert told(await waiting, GROUP) == Told(410, "completion_cancelled", "The completion was cancelled.")


async def test_the_name_of_a_conversation_cancels_its_latest_run(member: Member, provider: ProviderProcess) -> None:
    await member.post(TENANT, conversation_id="talk")
    waiting = asyncio.ensure_future(member.post(TENANT, model="hang", conversation_id="talk"))
    await provider.seen_when(lambda seen: len(seen) == 2)

    state = await member.cancel(TENANT, "talk")

    assert state.json() == {"id": "talk", "status": "cancelled"}
    assert (await waiting).headers["x-completion-id"] == state.headers["x-completion-id"]


# --- a job ------------------------------------------------------------------------------------------------------------


async def test_a_job_that_was_still_waiting_never_reaches_the_provider(
    narrow: Member, provider: ProviderProcess
) -> None:
    narrow.replica.set_balance(narrow.tenant, 100_000)
    first = await narrow.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)
    second = await narrow.post(GROUP, model="echo")

    state = await narrow.cancel(GROUP, second.json()["id"])
    await narrow.cancel(GROUP, first.json()["id"])
    third = await narrow.whole(GROUP, model="words-n1")

    assert state.json() == {"id": second.json()["id"], "status": "cancelled"}
    assert state.headers["x-sluice-charged-tokens"] == "0"
    assert [seen.body["model"] for seen in provider.requests()] == ["hang", "words-n1"]
    left = 100_000 - int(third.headers["x-sluice-charged-tokens"])
    assert await narrow.replica.available(narrow.tenant) == left


async def test_a_job_that_is_under_way_is_stopped_and_its_watchers_are_told(
    member: Member, provider: ProviderProcess
) -> None:
    job = await member.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)
    watching = asyncio.ensure_future(member.fetch(GROUP, job.json()["id"], headers={"Prefer": "wait=10"}))

    state = await member.cancel(GROUP, job.json()["id"])

    assert state.json() == {"id": job.json()["id"], "status": "cancelled"}
    assert (await watching).json() == state.json()
    await provider.seen_when(lambda seen: seen[0].disconnected)


async def test_who_waits_for_a_job_that_is_cancelled_is_told(
    member: Member, provider: ProviderProcess, json_log: Log
) -> None:
    waiting = asyncio.ensure_future(member.post(GROUP, model="hang", headers={"Prefer": "wait=10"}))
    await provider.seen_when(lambda seen: len(seen) == 1)

    await member.cancel(GROUP, await announced(json_log))

    assert told(await waiting, GROUP) == Told(410, "completion_cancelled", "The completion was cancelled.")


# --- runs that have ended, and runs that are others', too -------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_that_is_there_stays(member: Member, surface: Surface) -> None:
    done = await member.whole(surface)
    run_id = done.headers["x-completion-id"]

    state = await member.cancel(surface, run_id)

    assert state.json() == {"status": "completed", **done.json()}
    assert state.headers["x-sluice-charged-tokens"] == done.headers["x-sluice-charged-tokens"]
    assert (await member.fetch(surface, run_id)).json() == state.json()


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_run_that_failed_stays_so(member: Member, surface: Surface) -> None:
    failed = await member.whole(surface, model="status-500")

    state = await member.cancel(surface, failed.headers["x-completion-id"])

    assert (state.json()["status"], state.json()["error"]["code"]) == ("failed", "provider_error")


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_an_answer_that_others_wait_for_goes_on(member: Member, surface: Surface) -> None:
    shared: dict[str, Any] = {"model": "words-n6-i100", "stream": True, "cache_key": "k"}
    async with asking(member, surface, **shared) as first:
        await first.read_head()
        async with asking(member, surface, **shared) as second:
            await second.read_head()

            refused = await member.cancel(surface, first.run_id)

            error = told(refused, surface)
            assert (error.status, error.code) == (409, "completion_shared")
            assert error.message == "Others wait for the same answer, so it goes on."
            bodies = [await wire.read_all() for wire in (first, second)]

    assert [body.endswith(b"data: [DONE]\n\n") for body in bodies] == [True, True]


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_who_shares_anothers_answer_can_leave_it_and_pays_nothing(member: Member, surface: Surface) -> None:
    shared: dict[str, Any] = {"model": "words-n6-i100", "stream": True, "cache_key": "k"}
    async with asking(member, surface, **shared) as first:
        await first.read_head()
        async with asking(member, surface, **shared) as second:
            await second.read_head()
            left = await member.cancel(surface, second.run_id)
            told_again = await member.fetch(surface, second.run_id)
        body = await first.read_all()

    assert left.json()["status"] == "cancelled"
    assert left.headers["x-sluice-charged-tokens"] == "0"
    assert told_again.json() == left.json()
    assert body.endswith(b"data: [DONE]\n\n")


# --- the route --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_nothing_is_cancelled_without_a_token(member: Member, surface: Surface) -> None:
    done = await member.whole(surface)

    answer = await member.replica.client.post(done.headers["content-location"] + "/cancel")

    assert as_openai(answer).status == 401


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_run_is_not_cancelled_by_looking(member: Member, surface: Surface) -> None:
    answer = await member.get(surface, "/v1/chat/completions/job-1/cancel")

    assert told(answer, surface).status == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_path_that_ends_in_a_slash_is_the_same(member: Member, surface: Surface) -> None:
    done = await member.whole(surface)

    answer = await member.cancel(surface, done.headers["x-completion-id"])
    slashed = await member.replica.client.post(
        f"{surface.path(member.tenant)}/{done.headers['x-completion-id']}/cancel/", headers=member.headers(surface)
    )

    assert slashed.json() == answer.json()
    assert slashed.headers["content-location"] == answer.headers["content-location"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cancel_is_one_line_with_all_that_is_known(member: Member, json_log: Log, surface: Surface) -> None:
    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        answer = await member.cancel(surface, wire.run_id)

    (line,) = [line for line in json_log.of("Request served") if line["route"].endswith("/cancel")]
    scope = "" if surface is GROUP else "/{scope}"
    assert {
        name: value for name, value in line.items() if name not in ("time", "duration_ms", "completion_tokens")
    } == {
        "level": "INFO",
        "message": "Request served",
        "request_id": answer.headers["x-request-id"],
        "tenant": member.tenant,
        "provider": "scripted",
        "model": STALLED,
        "route": f"{scope}/v1/chat/completions/{{run_id}}/cancel",
        "method": "POST",
        "status_code": 200,
        "prompt_tokens": 13,
        "charged_tokens": int(answer.headers["x-sluice-charged-tokens"]),
        "run_id": wire.run_id,
        "error_code": None,
        "trace_id": None,
    }


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cancel_that_the_store_does_not_hear_is_not_claimed(
    member: Member, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_away(_: str) -> None:
        raise StoreUnavailable

    async with asking(member, surface, model=STALLED, stream=True) as wire:
        await wire.read_head()
        with monkeypatch.context() as patched:
            patched.setattr(member.replica.container.run_store(), "cancel", be_away)
            refused = await member.cancel(surface, wire.run_id)
        again = await member.cancel(surface, wire.run_id)

    assert (told(refused, surface).status, told(refused, surface).code) == (503, "service_unavailable")
    assert again.json()["status"] == "cancelled"
