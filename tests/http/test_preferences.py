"""What a client would like (RFC 7240): not to wait for the answer, or to wait for so long."""

import pytest

from entrypoints.http.headers import Preferences, preferences
from tests.http.frames import read_stream
from tests.http.member import Member
from tests.http.strict import require_completion
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import as_openai, plainly
from tests.provider.process import ProviderProcess

ASYNC = {"Prefer": "respond-async"}
#: The surfaces that answer with the completion unless somebody prefers otherwise.
DIRECT = pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)


# --- not to wait ------------------------------------------------------------------------------------------------------


@DIRECT
async def test_who_would_rather_not_wait_gets_a_job(member: Member, surface: Surface) -> None:
    job = await member.post(surface, headers=ASYNC)

    assert job.status_code == 202
    assert job.headers["preference-applied"] == "respond-async"
    assert job.json().keys() == {"id", "status", "eta"}
    assert job.json()["status"] == "queued"
    assert isinstance(job.json()["eta"], int)
    assert job.json()["id"].startswith(surface.id_prefix)
    assert job.headers["x-completion-id"].startswith("chatcmpl-")
    assert job.headers["content-location"] == f"{surface.path(member.tenant)}/{job.headers['x-completion-id']}"
    assert "x-sluice-charged-tokens" not in job.headers


@DIRECT
async def test_a_job_becomes_the_completion_that_was_asked_for(member: Member, surface: Surface) -> None:
    job = await member.post(surface, headers=ASYNC, model="words-n3")

    for run_id in (job.json()["id"], job.headers["x-completion-id"]):
        state = await member.fetch(surface, run_id, headers={"Prefer": "wait=10"})
        completion = {key: value for key, value in state.json().items() if key != "status"}
        require_completion(completion, closed=not surface.keeps_extras)
        assert state.json()["status"] == "completed"
        assert completion["id"] == job.json()["id"]
        assert completion["choices"][0]["message"]["content"] == "w0 w1 w2"


@DIRECT
async def test_a_job_can_be_watched_as_a_stream(member: Member, surface: Surface) -> None:
    job = await member.post(surface, headers=ASYNC, model="words-n4-i20")

    stream = read_stream(await member.fetch(surface, job.headers["x-completion-id"], stream="true"))

    assert stream.text() == "w0 w1 w2 w3"
    assert stream.is_done
    assert {chunk["id"] for chunk in stream.chunks} == {job.json()["id"]}


@DIRECT
async def test_a_job_keeps_what_the_surface_keeps(member: Member, surface: Surface) -> None:
    job = await member.post(surface, headers={"Prefer": "respond-async, wait=10"}, model="extras")

    assert ("x_provider" in job.json()) is surface.keeps_extras


@DIRECT
async def test_a_job_that_fails_does_so_where_it_is_fetched(member: Member, surface: Surface) -> None:
    job = await member.post(surface, headers=ASYNC, model="status-500")

    state = await member.fetch(surface, job.headers["x-completion-id"], headers={"Prefer": "wait=10"})

    assert (job.status_code, state.status_code) == (202, 200)
    assert (state.json()["status"], state.json()["error"]["code"]) == ("failed", "provider_error")


@DIRECT
async def test_what_is_refused_is_refused_at_once(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 0)

    answer = await member.post(surface, headers=ASYNC)

    # The tenant surface tells an empty balance plainly.
    assert (plainly if surface is TENANT else as_openai)(answer).code == "insufficient_quota"
    assert answer.status_code == 429
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_is_begun_at_once_whatever_is_preferred(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, headers={"Prefer": "respond-async, wait=10"}, stream=True)

    assert read_stream(answer).is_done
    assert "preference-applied" not in answer.headers


async def test_on_the_group_surface_a_job_is_what_it_ever_was(member: Member) -> None:
    job = await member.post(GROUP, headers=ASYNC)

    assert (job.status_code, job.json()["status"]) == (200, "queued")
    assert "preference-applied" not in job.headers


# --- to wait for so long ----------------------------------------------------------------------------------------------


@DIRECT
async def test_who_waits_long_enough_gets_the_completion(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, headers={"Prefer": "respond-async, wait=10"})

    require_completion(answer.json(), closed=not surface.keeps_extras)
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "respond-async, wait=10"
    assert int(answer.headers["x-sluice-charged-tokens"]) > 0


@DIRECT
async def test_who_waits_in_vain_gets_the_job_as_it_stands(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    answer = await member.post(surface, headers={"Prefer": "wait=1, respond-async"}, model="hang")

    assert (answer.status_code, answer.json()["status"]) == (202, "in_progress")
    assert answer.headers["preference-applied"] == "respond-async, wait=1"
    assert len(provider.requests()) == 1


@DIRECT
async def test_who_waits_for_a_job_that_fails_gets_its_error(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, headers={"Prefer": "respond-async, wait=10"}, model="status-500")

    assert (as_openai(answer).status, as_openai(answer).code) == (502, "provider_error")


@DIRECT
async def test_without_respond_async_a_wait_is_not_heeded(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, headers={"Prefer": "wait=0"})

    assert (answer.status_code, answer.json()["object"]) == (200, "chat.completion")
    assert "preference-applied" not in answer.headers


@DIRECT
async def test_preferences_may_come_in_headers_of_their_own(member: Member, surface: Surface) -> None:
    headers = [*member.headers(surface).items(), ("Prefer", "respond-async"), ("Prefer", "wait=10")]

    answer = await member.replica.client.post(surface.path(member.tenant), json=member.body(surface), headers=headers)

    assert answer.headers["preference-applied"] == "respond-async, wait=10"
    assert answer.json()["object"] == "chat.completion"


@DIRECT
@pytest.mark.parametrize(
    "prefer", ["respond-asynchronous", "respond-async=yes", "async", ";respond-async", "", "=", ","]
)
async def test_a_preference_that_is_malformed_is_none(member: Member, surface: Surface, prefer: str) -> None:
    answer = await member.post(surface, headers={"Prefer": prefer})

    assert (answer.status_code, answer.json()["object"]) == (200, "chat.completion")
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_a_job_counts_as_what_it_is_when_it_is_asked_for_again(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    headers = {**ASYNC, "Idempotency-Key": "k"}
    job = await member.post(surface, headers=headers)
    await member.fetch(surface, job.headers["x-completion-id"], headers={"Prefer": "wait=10"})

    again = await member.post(surface, headers=headers)
    whole = await member.post(surface, headers={"Idempotency-Key": "k"})

    assert again.json() == {"id": job.json()["id"], "status": "completed", "eta": 0}
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert whole.json()["choices"][0]["message"]["content"] == "Hello, who are you?"
    assert len(provider.requests()) == 1


# --- how they are read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefer", "meant"),
    [
        (None, Preferences()),
        ("", Preferences()),
        ("wait=10", Preferences(wait=10)),
        ("Wait=10", Preferences(wait=10)),
        ("wait = 10", Preferences(wait=10)),
        ('wait="10"', Preferences(wait=10)),
        ("wait=0", Preferences(wait=0)),
        ("wait=007", Preferences(wait=7)),
        ("wait=60", Preferences(wait=60)),
        ("wait=61", Preferences(wait=60)),
        ("wait=999999999", Preferences(wait=60)),
        ("wait=10; x=1", Preferences(wait=10)),
        ("wait=10, wait=20", Preferences(wait=10)),
        ("wait=ten, wait=20", Preferences(wait=20)),
        ("respond-async", Preferences(respond_async=True)),
        ("Respond-Async", Preferences(respond_async=True)),
        (" respond-async ; x", Preferences(respond_async=True)),
        ("respond-async, wait=5", Preferences(wait=5, respond_async=True)),
        ("wait=5,respond-async", Preferences(wait=5, respond_async=True)),
        ("return=minimal, handling=lenient, wait=5", Preferences(wait=5)),
        (",,wait=5,,", Preferences(wait=5)),
        ("wait", Preferences()),
        ("wait=", Preferences()),
        ("wait=-1", Preferences()),
        ("wait=1.5", Preferences()),
        ("wait=1e3", Preferences()),
        ("wait=9999999999", Preferences()),
        ("wait=\u0661", Preferences()),
        ("wait=10s", Preferences()),
        ("waits=10", Preferences()),
        ("wait=10 20", Preferences()),
        ("respond-async=1", Preferences()),
        ("respond async", Preferences()),
    ],
)
def test_a_header_is_read_as_it_is_meant(prefer: str | None, meant: Preferences) -> None:
    assert preferences(prefer) == meant


@pytest.mark.parametrize(
    ("preferred", "names", "header"),
    [
        (Preferences(), ("wait", "respond-async"), None),
        (Preferences(wait=5), ("wait",), "wait=5"),
        (Preferences(wait=0), ("wait",), "wait=0"),
        (Preferences(wait=5), ("respond-async",), None),
        (Preferences(wait=5, respond_async=True), ("wait",), "wait=5"),
        (Preferences(wait=5, respond_async=True), ("wait", "respond-async"), "respond-async, wait=5"),
        (Preferences(respond_async=True), ("wait", "respond-async"), "respond-async"),
    ],
)
def test_what_is_heeded_is_told(preferred: Preferences, names: tuple[str, ...], header: str | None) -> None:
    assert preferred.applied(*names) == ({"Preference-Applied": header} if header else {})
