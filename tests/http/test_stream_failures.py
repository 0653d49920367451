"""A stream that fails: an HTTP error as long as nothing was said, afterwards one event that says so, and no [DONE]."""

from collections.abc import AsyncIterator

import pytest

from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.strict import require_error
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import as_openai, told
from tests.provider.process import ProviderProcess

#: What breaks off in mid-stream after three words, and the code that it is told with.
BREAKING_OFF = {
    "cut-mid-n3": "upstream_truncated",
    "reset-mid-n3": "upstream_truncated",
    "end-mid-n3": "upstream_truncated",
    "error-event-n3": "provider_error",
    "bad-event-n3": "upstream_bad_response",
    "stall-n3": "upstream_timeout",
}


@pytest.fixture(scope="module")
async def impatient(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that does not wait long for a provider."""
    async with running(process, first_byte_seconds=0.3, idle_seconds=0.3, total_seconds=5.0) as started:
        yield started


@pytest.fixture
async def hasty(impatient: Replica) -> Member:
    return Member(impatient, await impatient.add_tenant())


# Each failure on one surface, and one failure on each: silence takes its time.
@pytest.mark.parametrize(
    ("surface", "model"),
    [*((TENANT, model) for model in BREAKING_OFF), (GROUP, "cut-mid-n3"), (PROVIDER, "error-event-n3")],
    ids=str,
)
async def test_a_stream_that_breaks_off_ends_with_one_error_and_no_done(
    hasty: Member, surface: Surface, model: str
) -> None:
    stream = await hasty.stream(surface, model=model, stream_options={"include_usage": True})

    assert stream.text() == "w0 w1 w2 "
    assert stream.frames[-1].json.keys() == {"error"}
    require_error(stream.frames[-1].json)
    assert stream.error["code"] == BREAKING_OFF[model]
    assert stream.error["type"] == "server_error"
    assert "[DONE]" not in stream.response.text
    assert all("error" not in frame.json for frame in stream.frames[:-1])


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_run_that_broke_off_tells_whoever_fetches_it_the_same(hasty: Member, surface: Surface) -> None:
    stream = await hasty.stream(surface, model="cut-mid-n3")

    state = (await hasty.fetch(surface, stream.run_id)).json()

    assert state["status"] == "failed"
    assert state["error"] == stream.error


async def test_what_was_said_before_a_stream_broke_off_is_charged(hasty: Member) -> None:
    stream = await hasty.stream(TENANT, model="cut-mid-n3")

    state = await hasty.fetch(TENANT, stream.run_id)

    assert int(state.headers["x-sluice-charged-tokens"]) > 3


#: What fails before it says anything: the status and the code.
STILLBORN = {
    "status-500": (502, "provider_error"),
    "status-400": (400, "invalid_request"),
    "status-429-ra7": (429, "rate_limit_exceeded"),
    "close": (502, "upstream_truncated"),
    "reset": (502, "upstream_truncated"),
    "html-200": (502, "upstream_bad_response"),
    "empty-200": (502, "upstream_bad_response"),
    "no-choices": (502, "upstream_bad_response"),
    "garbage-stream": (502, "upstream_bad_response"),
    "error-in-200": (502, "provider_error"),
    "hang": (504, "upstream_timeout"),
    "trickle": (504, "upstream_timeout"),
}


@pytest.mark.parametrize(
    ("surface", "model"),
    [
        *((TENANT, model) for model in STILLBORN),
        *((surface, model) for surface in (GROUP, PROVIDER) for model in ("status-500", "close")),
    ],
    ids=str,
)
async def test_a_stream_that_fails_before_its_first_byte_is_an_http_error(
    hasty: Member, surface: Surface, model: str
) -> None:
    answer = await hasty.post(surface, stream=True, model=model)

    error = told(answer, surface)
    assert (error.status, error.code) == STILLBORN[model]


async def test_a_failure_before_the_first_byte_leaves_a_run_that_can_be_fetched(hasty: Member) -> None:
    answer = await hasty.post(TENANT, stream=True, model="status-500")

    state = (await hasty.fetch(TENANT, answer.headers["x-completion-id"])).json()

    assert state["status"] == "failed"
    assert state["error"] == answer.json()["error"]


async def test_a_rate_limit_of_the_providers_keeps_its_retry_after_in_a_stream_too(hasty: Member) -> None:
    answer = await hasty.post(TENANT, stream=True, model="status-429-ra7")

    assert as_openai(answer).code == "rate_limit_exceeded"
    assert answer.headers["retry-after"] == "7"
