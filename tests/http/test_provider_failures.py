"""What becomes of a provider's refusals and faults: whose mistake it is, when to come back, and never whose key."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from dependency_injector import providers as di

from config.container import Container
from domain.providers import ProviderRegistry, ProviderSpec
from tests.http.member import Member
from tests.http.replica import PROVIDER_KEY, Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, told
from tests.provider.process import ProviderProcess
from tests.provider.refusals import CONTEXT, FILTERED, NO_MODEL, PARAM

INVALID, SERVER = "invalid_request_error", "server_error"
FAILED = Told(502, "provider_error", "The provider failed to answer.", SERVER)
UNINTELLIGIBLE = Told(502, "upstream_bad_response", "The provider gave an answer that cannot be understood.", SERVER)
ELSEWHERE = Told(502, "upstream_redirect", "The provider gave an answer that cannot be understood.", SERVER)
CUT = Told(502, "upstream_truncated", "The provider's answer was cut off.", SERVER)
TIMED_OUT = Told(504, "upstream_timeout", "The provider did not answer in time.", SERVER)
BAD_KEY = Told(502, "upstream_refused_key", "The provider refused the configured API key.", SERVER)
SPENT = Told(502, "upstream_quota_exhausted", "The account with the provider has no quota left.", SERVER)
LIMITED = Told(429, "rate_limit_exceeded", "The provider's rate limit is exceeded.", "requests")

#: What the provider does, and what its caller is told in OpenAI's dialect.
TELLS: dict[str, Told] = {
    # The caller's mistakes: the provider's own reason is passed on.
    "status-400": Told(400, "invalid_request", "Scripted status 400.", INVALID),
    "status-413": Told(400, "invalid_request", "Scripted status 413.", INVALID),
    "status-422": Told(400, "invalid_request", "Scripted status 422.", INVALID),
    "error-context": Told(400, "context_length_exceeded", CONTEXT, INVALID, "messages"),
    "error-content-filter": Told(400, "content_filter", FILTERED, INVALID, "prompt"),
    "error-param": Told(400, "decimal_above_max_value", PARAM, INVALID, "temperature"),
    # The tenant's: its key, its account.
    "status-401": BAD_KEY,
    "status-403": BAD_KEY,
    "status-402": SPENT,
    "error-quota": SPENT,
    # The provider's.
    "status-408": TIMED_OUT,
    "status-504": TIMED_OUT,
    "status-409": FAILED,
    "status-418": FAILED,
    "status-500": FAILED,
    "status-502-html": FAILED,
    "status-503": FAILED,
    "status-503-plain": FAILED,
    "status-529": FAILED,
    "error-in-200": FAILED,
    "status-400-html": UNINTELLIGIBLE,
    "status-400-empty": UNINTELLIGIBLE,
    "status-404-html": UNINTELLIGIBLE,
    "html-200": UNINTELLIGIBLE,
    "empty-200": UNINTELLIGIBLE,
    "json-array": UNINTELLIGIBLE,
    "not-json": UNINTELLIGIBLE,
    "no-choices": UNINTELLIGIBLE,
    "redirect": ELSEWHERE,
    "redirect-302": ELSEWHERE,
    "reset": CUT,
    "close": CUT,
    # Nobody's.
    "status-429": LIMITED,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", TELLS)
async def test_a_providers_failure_is_told_in_our_words(member: Member, model: str, stream: bool) -> None:
    answer = await member.post(PROVIDER, model=model, stream=stream)

    assert as_openai(answer) == TELLS[model]


@pytest.mark.parametrize("model", TELLS)
async def test_the_other_surfaces_tell_the_same_in_their_dialect(member: Member, model: str) -> None:
    at_group = told(await member.whole(GROUP, model=model), GROUP)
    at_tenant = told(await member.whole(TENANT, model=model), TENANT)

    assert at_tenant == TELLS[model]
    assert at_group == replace(TELLS[model], type=None, param=None)


@pytest.mark.parametrize("model", ["error-model", "status-404"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_model_that_the_provider_does_not_have_is_as_unsupported_as_one_that_we_do_not_know(
    member: Member, surface: Surface, model: str
) -> None:
    answer = await member.whole(surface, model=model)

    error = told(answer, surface)
    assert (error.status, error.code) == (surface.model_status, "model_not_found")
    assert error.message == (NO_MODEL if model == "error-model" else "Scripted status 404.")
    assert error.param == (None if surface is GROUP else "model")


@pytest.mark.parametrize(
    ("model", "seconds", "milliseconds"),
    [
        ("status-429-ra5", "5", "5000"),
        ("status-429-rams250", "1", "250"),
        ("status-429-ra5-rams1500", "2", "1500"),
        ("status-429-raneg", "1", "1"),
        ("status-429-ra999999", "300", "300000"),
        ("status-429-raabc", None, None),
        ("status-429", None, None),
    ],
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_when_the_provider_wants_to_be_asked_again_is_passed_on(
    member: Member, surface: Surface, model: str, seconds: str | None, milliseconds: str | None
) -> None:
    answer = await member.whole(surface, model=model)

    assert told(answer, surface).status == 429
    assert answer.headers.get("retry-after") == seconds
    assert answer.headers.get("retry-after-ms") == milliseconds
    assert "x-should-retry" not in answer.headers


async def test_a_date_for_retry_after_becomes_seconds(member: Member) -> None:
    answer = await member.post(TENANT, model="status-429-radate")

    assert 1 <= int(answer.headers["retry-after"]) <= 6


@pytest.mark.parametrize("model", ["status-503-ra5", "status-500-ra5"])
async def test_a_failure_that_is_no_rate_limit_has_no_retry_after(member: Member, model: str) -> None:
    answer = await member.post(TENANT, model=model)

    assert answer.status_code == 502
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("model", ["redirect", "redirect-301", "redirect-302", "redirect-308"])
async def test_a_redirect_is_not_followed(member: Member, provider: ProviderProcess, model: str) -> None:
    await member.post(TENANT, model=model, provider="keyed")

    assert [seen.path for seen in provider.requests()] == ["/v1/chat/completions"]


# --- providers that cannot be reached, or do not come to an end -------------------------------------------------------


@pytest.fixture(scope="module")
async def hasty(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that gives a provider little time, and that knows one which is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    gone = ProviderSpec("gone", "Gone", f"http://127.0.0.1:{closed}/v1", key="optional", models="any")

    def add_the_one_that_is_gone(container: Container) -> None:
        known = {spec.id: spec for spec in container.registry()}
        container.registry.override(di.Object(ProviderRegistry({**known, "gone": gone})))

    async with running(
        process,
        prepare=add_the_one_that_is_gone,
        first_byte_seconds=0.3,
        idle_seconds=0.3,
        total_seconds=0.3,
    ) as started:
        yield started


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_provider_that_is_not_there_is_unreachable(hasty: Replica, surface: Surface, stream: bool) -> None:
    member = Member(hasty, await hasty.add_tenant(default="gone"))
    at = replace(surface, prefix="/gone") if surface is PROVIDER else surface

    answer = await member.post(at, headers={"Prefer": "wait=10"}, stream=stream)

    error = told(answer, surface)
    assert (error.status, error.code) == (502, "upstream_unreachable")
    assert error.message == "The provider could not be reached."


@pytest.mark.parametrize("model", ["hang", "drip-headers", "interim", "trickle", "stall"])
async def test_a_provider_that_does_not_come_to_an_end_times_out(hasty: Replica, model: str) -> None:
    member = Member(hasty, await hasty.add_tenant())

    answer = await member.post(PROVIDER, model=model)

    assert as_openai(answer) == TIMED_OUT


@pytest.mark.parametrize("model", ["cut-mid", "reset-mid", "end-mid", "bad-event", "garbage-stream", "many-headers"])
async def test_a_whole_answer_that_is_not_whole_is_none(member: Member, model: str) -> None:
    answer = await member.post(PROVIDER, model=model)

    assert as_openai(answer) in (CUT, UNINTELLIGIBLE)


async def test_a_second_response_behind_the_first_is_nobodys_answer(member: Member) -> None:
    answers = [await member.post(PROVIDER, model="two-responses") for _ in range(4)]

    assert "POISON" not in "".join(answer.text for answer in answers)
    assert {answer.status_code for answer in answers} == {200}


# --- the tenant's key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_key_that_the_provider_refuses_is_never_the_callers_fault(replica: Replica, surface: Surface) -> None:
    # The scripted provider refuses this key with 401, and repeats it.
    member = Member(replica, await replica.add_tenant(api_keys={"scripted": "bad"}))

    answer = await member.whole(surface)

    error = told(answer, surface)
    assert (error.status, error.code) == (502, "upstream_refused_key")
    assert "www-authenticate" not in answer.headers
    assert error.message == "The provider refused the configured API key."


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_tenants_key_goes_to_the_provider_and_the_callers_token_does_not(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    at = replace(surface, prefix="/keyed") if surface is PROVIDER else surface
    fields = {} if surface is PROVIDER else {"provider": "keyed"}

    await member.whole(at, **fields)

    seen = provider.requests()[0]
    assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert member.token not in str(seen)
    assert not {"x-tenant-id", "cookie", "x-forwarded-for"} & seen.headers.keys()


async def test_a_provider_without_a_key_gets_none(member: Member, provider: ProviderProcess) -> None:
    await member.post(TENANT)

    assert "authorization" not in provider.requests()[0].headers


@pytest.mark.parametrize("model", TELLS)
async def test_no_failure_shows_the_key(member: Member, model: str) -> None:
    answer = await member.post(TENANT, provider="keyed", model=model)

    assert PROVIDER_KEY not in answer.text + str(answer.headers)
    assert answer.status_code not in (401, 403)
