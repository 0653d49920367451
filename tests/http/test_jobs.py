"""A run fetched again: queued, under way, completed or failed; held back as long as the client prefers to wait."""

from collections.abc import AsyncIterator

import pytest

from tests.http.member import Member
from tests.http.replica import running
from tests.http.strict import require_completion
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.http.waiting import until
from tests.http.wire import asking
from tests.provider.process import ProviderProcess


@pytest.fixture
async def narrow(process: ProviderProcess) -> AsyncIterator[Member]:
    """A member at a replica that does one job at a time and lets two more wait."""
    async with running(process, job_slots=1, queue_length=2) as replica:
        yield Member(replica, await replica.add_tenant())


async def status(member: Member, surface: Surface, run_id: str) -> str:
    found: str = (await member.fetch(surface, run_id)).json()["status"]
    return found


# --- the states -------------------------------------------------------------------------------------------------------


async def test_a_job_whose_turn_has_not_come_is_queued(narrow: Member, provider: ProviderProcess) -> None:
    await narrow.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)
    waiting = await narrow.post(GROUP)

    answer = await narrow.fetch(GROUP, waiting.json()["id"])

    assert answer.json() == {"id": waiting.json()["id"], "status": "queued"}


async def test_a_job_whose_turn_has_come_is_in_progress(member: Member, provider: ProviderProcess) -> None:
    job = await member.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)

    answer = await member.fetch(GROUP, job.json()["id"])

    assert answer.json() == {"id": job.json()["id"], "status": "in_progress"}


async def test_a_job_gets_its_turn_when_the_one_before_it_is_done(narrow: Member) -> None:
    jobs = [(await narrow.post(GROUP, model="words-n2")).json()["id"] for _ in range(3)]

    async def all_done() -> bool:
        return [await status(narrow, GROUP, job) for job in jobs] == ["completed"] * 3

    await until(all_done)


async def test_a_queue_that_is_full_says_so_and_when_to_come_back(narrow: Member, provider: ProviderProcess) -> None:
    await narrow.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)
    await narrow.post(GROUP)
    await narrow.post(GROUP)

    answer = await narrow.post(GROUP)

    error = told(answer, GROUP)
    assert (error.status, error.code, error.message) == (503, "queue_full", "Too many completions are waiting.")
    assert answer.headers["retry-after"] == "5"


async def test_the_further_back_in_the_queue_the_later(narrow: Member, provider: ProviderProcess) -> None:
    first = await narrow.post(GROUP, model="hang")
    await provider.seen_when(lambda seen: len(seen) == 1)
    second, third = await narrow.post(GROUP), await narrow.post(GROUP)

    assert [job.json()["eta"] for job in (first, second, third)] == [2, 2, 4]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completed_run_is_its_completion(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, model="tools", logprobs=True)

    again = await member.fetch(surface, answer.headers["x-completion-id"])

    assert again.json() == {"status": "completed", **answer.json()}
    assert again.headers["x-sluice-charged-tokens"] == answer.headers["x-sluice-charged-tokens"]
    require_completion({key: value for key, value in again.json().items() if key != "status"})


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_streamed_run_is_a_completion_when_it_is_fetched(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, n=2)

    answer = (await member.fetch(surface, stream.run_id)).json()

    assert answer["status"] == "completed"
    assert answer["id"] == stream.chunks[0]["id"]
    assert answer["created"] == stream.chunks[0]["created"]
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Hello, who are you?"] * 2


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_failed_run_is_its_error(member: Member, surface: Surface) -> None:
    failed = await member.whole(surface, model="error-context")

    answer = await member.fetch(surface, failed.headers["x-completion-id"])

    assert answer.status_code == 200
    assert answer.json() == {
        "id": answer.json()["id"],
        "status": "failed",
        "error": {
            "message": "This model's maximum context length is 4096 tokens. "
            "However, your messages resulted in 5000 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    }
    assert answer.json()["id"].startswith(surface.id_prefix)


async def test_a_job_of_the_group_surface_fails_where_it_is_fetched(member: Member) -> None:
    job = await member.post(GROUP, model="status-500")

    answer = await member.fetch(GROUP, job.json()["id"], headers={"Prefer": "wait=10"})

    assert job.json()["status"] == "queued"
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", "provider_error")


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_who_prefers_to_wait_is_answered_when_the_run_is_done(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model="words-n3-i50", stream=True) as wire:
        head = await wire.read_head()
        run_id = head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()
        answer = await member.fetch(surface, run_id, headers={"Prefer": "wait=10"})

    assert answer.json()["status"] == "completed"
    assert answer.json()["choices"][0]["message"]["content"] == "w0 w1 w2"
    assert answer.headers["preference-applied"] == "wait=10"


async def test_who_waits_in_vain_is_told_how_things_stand(member: Member) -> None:
    job = await member.post(GROUP, model="hang", headers={"Prefer": "wait=1"})

    assert job.json() == {"id": job.headers["x-completion-id"], "status": "in_progress", "eta": job.json()["eta"]}
    assert job.headers["preference-applied"] == "wait=1"


async def test_a_wait_is_bounded(member: Member) -> None:
    answer = await member.post(GROUP, headers={"Prefer": "wait=999999999"})

    assert answer.headers["preference-applied"] == "wait=60"


async def test_who_waits_for_a_run_that_is_done_waits_for_nothing(member: Member) -> None:
    done = await member.whole(TENANT)

    answer = await member.fetch(TENANT, done.headers["x-completion-id"], headers={"Prefer": "wait=60"})

    assert answer.json()["status"] == "completed"


async def test_a_run_of_one_surface_can_be_fetched_on_another_by_the_same_user(member: Member) -> None:
    at_provider = await member.post(PROVIDER)
    job = await member.whole(GROUP)

    for answer in (at_provider, job):
        fetched = await member.fetch(TENANT, answer.headers["x-completion-id"])
        assert fetched.json()["id"] == answer.json()["id"]


# --- the end of the replica -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_replica_that_is_shutting_down_admits_nothing_more(process: ProviderProcess, surface: Surface) -> None:
    async with running(process) as ending:
        member = Member(ending, await ending.add_tenant())
        await ending.drain()
        answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (503, "shutting_down", "This replica is shutting down.")
    assert answer.headers["retry-after"] == "1"


async def test_a_stream_that_a_shutdown_breaks_off_says_so(process: ProviderProcess) -> None:
    async with running(process) as ending:
        member = Member(ending, await ending.add_tenant())
        async with asking(member, TENANT, model="stall-n2", stream=True) as wire:
            await wire.read_head()
            await wire.read_until(b"w1")
            await ending.drain()
            body = await wire.read_all()

    assert b'"code":"generation_interrupted"' in body.rpartition(b"data: ")[2]
    assert b"[DONE]" not in body


async def test_what_is_under_way_may_finish_before_a_replica_ends(process: ProviderProcess) -> None:
    async with running(process, drain_seconds=10.0) as ending:
        member = Member(ending, await ending.add_tenant())
        async with asking(member, TENANT, model="words-n3-i50", stream=True) as wire:
            await wire.read_head()
            await ending.drain()
            body = await wire.read_all()

    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_finished_run_can_be_fetched_from_a_replica_that_is_ending(process: ProviderProcess) -> None:
    async with running(process) as ending:
        member = Member(ending, await ending.add_tenant())
        done = await member.whole(TENANT)
        await ending.drain()
        answer = await member.fetch(TENANT, done.headers["x-completion-id"])

    assert answer.json()["status"] == "completed"
