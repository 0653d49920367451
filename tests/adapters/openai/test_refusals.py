"""The adapter against what is no answer, or a refusal: rows F20 to F24 of the reliability table, and X3 and X4.

No provider's status is ever the caller's, and no provider's body is ever the log's.
"""

from dataclasses import replace

import pytest

from adapters.openai.provider import OpenAIProvider, SizeLimits
from adapters.openai.transport import PooledTransport
from domain.errors import (
    ProviderBadResponse,
    ProviderError,
    ProviderOutOfQuota,
    ProviderRateLimited,
    ProviderRedirected,
    ProviderRefusedKey,
    ProviderRejected,
    ProviderTimeout,
)
from tests.adapters.openai.asking import Form, answer, both_forms, call_to, failure_of, outcome
from tests.adapters.openai.calls import a_call, a_target, text_of
from tests.provider.process import ProviderProcess

pytestmark = pytest.mark.anyio


# --- F20 to F22: no answer ----------------------------------------------------------------------------------------


async def test_a_malformed_event_ends_the_stream_behind_what_came(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    found = await outcome(provider, call_to(scripted, "bad-event-n3"))

    assert type(found.error) is ProviderBadResponse
    assert text_of(found.chunks) == "w0 w1 w2 "


async def test_an_error_event_ends_the_stream_behind_what_came(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    found = await outcome(provider, call_to(scripted, "error-event-n3"))

    assert type(found.error) is ProviderError
    assert text_of(found.chunks) == "w0 w1 w2 "


@both_forms
@pytest.mark.parametrize(
    "model",
    [
        "html-200",
        "empty-200",
        "json-array",
        "not-json",
        "no-choices",
        "garbage-stream",
        "status-204",
        "status-400-html",
        "status-404-plain",
        "many-headers",
        "gzip-bomb-n5",
        "huge-line-n40",
    ],
)
async def test_what_is_no_answer_is_a_bad_response(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert type(error) is ProviderBadResponse
    assert len(scripted.requests()) == 1


@both_forms
@pytest.mark.parametrize("model", ["redirect", "redirect-301"])
async def test_a_redirect_is_not_followed(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert type(error) is ProviderRedirected
    assert len(scripted.requests()) == 1


@both_forms
@pytest.mark.parametrize(
    ("model", "detail"),
    [("gzip-bomb-n1", "a compressed answer"), ("html-200", "a web page"), ("redirect", "redirect")],
)
async def test_the_log_is_told_what_it_was_instead(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, detail: str, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert error.detail == detail


@both_forms
async def test_an_error_with_status_200_is_an_error(
    scripted: ProviderProcess, provider: OpenAIProvider, form: Form
) -> None:
    assert type(await failure_of(provider, call_to(scripted, "error-in-200"), form)) is ProviderError


@pytest.mark.parametrize(("model", "form", "most"), [("huge-line-n300", "stream", 40), ("gzip-bomb-n200", "stream", 1)])
async def test_what_has_no_end_is_not_read_to_its_end(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form, most: int
) -> None:
    await failure_of(provider, call_to(scripted, model), form)

    [seen] = await scripted.seen_when(lambda requests: all(seen.ended_at for seen in requests))
    assert seen.disconnected
    # The kernel takes some megabytes that nobody reads.
    assert seen.bytes_sent < most * 1024 * 1024


async def test_a_whole_answer_is_bounded(scripted: ProviderProcess, transport: PooledTransport) -> None:
    narrow = OpenAIProvider(transport, sizes=SizeLimits(answer=1000))

    assert (await answer(narrow, call_to(scripted, "words-n20"), "whole")).choices
    assert type(await failure_of(narrow, call_to(scripted, "words-n500"), "whole")) is ProviderBadResponse
    assert type(await failure_of(narrow, call_to(scripted, "whole-stream"), "whole")) is ProviderBadResponse


async def test_a_stream_is_bounded_only_event_by_event(scripted: ProviderProcess, transport: PooledTransport) -> None:
    narrow = OpenAIProvider(transport, sizes=SizeLimits(event=600, answer=1000))

    assert (await answer(narrow, call_to(scripted, "words-n50"), "stream")).choices
    too_large = call_to(scripted, "logprobs", logprobs=True, top_logprobs=5)
    assert type(await failure_of(narrow, too_large, "stream")) is ProviderBadResponse


# --- F23, F24: refused --------------------------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        ("status-429", None),
        ("status-429-ra5", 5.0),
        ("status-429-rams250", 0.25),
        ("status-429-raneg", 0.0),
        ("status-429-ra1e9", 300.0),
        ("status-429-raabc", None),
        ("status-429-html", None),
    ],
)
async def test_a_rate_limit_tells_a_sane_wait(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, seconds: float | None, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after == seconds


async def test_a_rate_limit_may_name_a_date(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    error = await failure_of(provider, call_to(scripted, "status-429-radate"), "whole")

    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after is not None
    assert 3 < error.retry_after <= 5


@both_forms
@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("status-500", ProviderError, "provider_error"),
        ("status-502-html", ProviderError, "provider_error"),
        ("status-503", ProviderError, "provider_error"),
        ("status-529", ProviderError, "provider_error"),
        ("status-504", ProviderTimeout, "upstream_timeout"),
        ("status-401", ProviderRefusedKey, "upstream_refused_key"),
        ("status-403", ProviderRefusedKey, "upstream_refused_key"),
        ("status-402", ProviderOutOfQuota, "upstream_quota_exhausted"),
        ("error-quota", ProviderOutOfQuota, "upstream_quota_exhausted"),
        ("status-400", ProviderRejected, "invalid_request"),
        ("status-422", ProviderRejected, "invalid_request"),
        ("error-context", ProviderRejected, "context_length_exceeded"),
        ("error-content-filter", ProviderRejected, "content_filter"),
        ("error-model", ProviderRejected, "model_not_found"),
    ],
)
async def test_a_refusal_has_its_kind_and_its_code(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, kind: type[ProviderError], code: str, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert type(error) is kind
    assert error.code == code


async def test_a_bad_key_is_the_tenants_trouble(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    target = replace(a_target("echo", scripted.base_url), key="bad")

    error = await failure_of(provider, a_call(target), "whole")

    assert type(error) is ProviderRefusedKey
    assert "bad" not in error.message


async def test_a_parameter_that_was_rejected_is_named(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    error = await failure_of(provider, call_to(scripted, "error-param"), "stream")

    assert (error.code, error.param) == ("decimal_above_max_value", "temperature")
    assert "Expected a value <= 2" in error.message


# --- what is told -------------------------------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize(
    "model",
    [
        "html-200",
        "not-json",
        "error-in-200",
        "status-500",
        "status-400-html",
        "bad-event-n3",
        "error-event-n3",
        "garbage-stream",
        "no-choices",
        "cut-mid",
        "reset",
        "many-headers",
        "redirect",
    ],
)
async def test_the_log_learns_nothing_of_bodies_prompts_or_keys(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    prompt = "my secret diary"
    call = call_to(scripted, model, messages=[{"role": "user", "content": prompt}])

    error = await failure_of(provider, call, form)

    for said in (error.detail, error.message, str(error), repr(error)):
        for secret in (prompt, "diary", "key-of-acme", "w0", "Scripted", "nginx", "127.0.0.1"):
            assert secret not in said
