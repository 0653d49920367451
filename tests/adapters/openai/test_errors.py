"""What a provider's refusal means to the domain, whatever dialect it is in; and what of it a caller may see."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import httpx
import orjson
import pytest

from adapters.openai.errors import MAX_MESSAGE, failure, provider_errors, refusal, retry_after
from domain.errors import (
    ProviderBadResponse,
    ProviderError,
    ProviderOutOfQuota,
    ProviderRateLimited,
    ProviderRedirected,
    ProviderRefusedKey,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
)
from domain.providers import Target
from tests.adapters.openai.calls import a_target

#: In Unix seconds.
NOW = 1_750_000_000.0
HTML = b"<!DOCTYPE html><title>Bad gateway</title>"


def refused(
    status: int, body: Any = None, target: Target | None = None, headers: Mapping[str, str] | None = None
) -> ProviderError:
    """What a refusal becomes; ``body`` is bytes, an error's message or JSON."""
    if isinstance(body, str):
        body = {"error": {"message": body, "type": "invalid_request_error", "param": None, "code": None}}
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return refusal(status, httpx.Headers(headers), data, target or a_target(), NOW)


def rejected(status: int, body: Any, target: Target | None = None) -> ProviderRejected:
    error = refused(status, body, target)
    assert isinstance(error, ProviderRejected)
    return error


# --- kinds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejected),
        (401, ProviderRefusedKey),
        (402, ProviderOutOfQuota),
        (403, ProviderRefusedKey),
        (404, ProviderBadResponse),
        (408, ProviderTimeout),
        (409, ProviderError),
        (413, ProviderRejected),
        (418, ProviderError),
        (422, ProviderRejected),
        (429, ProviderRateLimited),
        (500, ProviderError),
        (502, ProviderError),
        (503, ProviderError),
        (504, ProviderTimeout),
        (529, ProviderError),
    ],
)
def test_a_status_decides_the_kind(status: int, kind: type[ProviderError]) -> None:
    assert type(refused(status, "Something is wrong.")) is kind


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_no_answer(status: int) -> None:
    error = refused(status, b"")

    assert (type(error), error.code) == (ProviderRedirected, "upstream_redirect")
    assert (error.detail, error.status) == ("redirect", status)


@pytest.mark.parametrize(
    "body", [HTML, b"", b"null", b"[]", b"{}", b'"text"', b'{"error": null}', b'{"error": {}}', b"\xff"]
)
@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_rejection_that_is_nobodys_words_is_not_passed_on(status: int, body: bytes) -> None:
    assert type(refused(status, body)) is ProviderBadResponse


def test_a_status_is_all_that_the_log_learns() -> None:
    error = refused(503, "The prompt was: my secret diary")

    assert (error.detail, error.status) == ("status 503", 503)
    assert "diary" not in error.message


@pytest.mark.parametrize("status", [400, 402, 403, 429])
@pytest.mark.parametrize("code", ["insufficient_quota", "credit_balance_exhausted"])
def test_a_spent_account_is_no_rate_limit(status: int, code: str) -> None:
    error = refused(status, {"error": {"message": "Pay.", "type": "billing", "code": code}})

    assert type(error) is ProviderOutOfQuota
    assert error.status == status


def test_a_failure_stays_one_whatever_it_is_called() -> None:
    assert type(refused(500, {"error": {"message": "No.", "code": "insufficient_quota"}})) is ProviderError


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Incorrect API key provided: xai-…", "code": "invalid_argument"}},
        [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
        {"error": {"message": "No.", "code": "invalid_api_key"}},
    ],
)
def test_a_400_about_the_key_is_about_the_key(body: Any) -> None:
    assert type(refused(400, body)) is ProviderRefusedKey


# --- what is passed on --------------------------------------------------------------------------------------------


def test_a_rejection_keeps_message_code_and_param() -> None:
    error = {"message": "Too hot.", "type": "invalid_request_error", "param": "temperature", "code": "above_max"}

    told = rejected(400, {"error": error})

    assert (told.message, told.code, told.param, told.status) == ("Too hot.", "above_max", "temperature", 400)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"error": "Too hot."}, "Too hot.", None),
        ({"error": "Too hot.", "message": "ignored"}, "Too hot.", None),
        ({"object": "error", "message": "Too hot.", "type": "BadRequestError", "code": 400}, "Too hot.", None),
        ({"detail": "Too hot."}, "Too hot.", None),
        ({"detail": [{"loc": ["body", "temperature"], "msg": "Too hot.", "input": 9}]}, "Too hot.", "temperature"),
        ({"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Who?"}]}, "Who?", "messages.0.role"),
        ([{"error": {"code": 400, "message": "Too hot.", "status": "INVALID_ARGUMENT"}}], "Too hot.", None),
    ],
)
def test_other_dialects_are_understood(body: Any, message: str, param: str | None) -> None:
    told = rejected(422, body)

    assert (told.message, told.param, told.code) == (message, param, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "No.", "code": "context_length_exceeded"}},
        {"error": {"code": 400, "message": "exceeds the available size", "type": "exceed_context_size_error"}},
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "too many tokens: the total number of tokens in the prompt exceeds the limit of 4081",
        "`inputs` tokens + `max_new_tokens` must be <= 4097",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_too_long_is_so_in_everybodys_words(status: int, body: Any) -> None:
    told = rejected(status, body)

    assert (told.code, told.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Gone.", "code": "model_not_found"}},
        "The model `gone` does not exist or you do not have access to it.",
        {"error": 'model "gone" not found, try pulling it first'},
        {"error": {"message": "models/gone is not found for API version v1", "status": "NOT_FOUND"}},
        "No such model: gone",
    ],
)
def test_a_model_that_is_not_there_is_the_callers_business(body: Any) -> None:
    told = rejected(404, body)

    assert (told.code, told.param) == ("model_not_found", "model")


def test_an_address_that_is_not_there_is_not() -> None:
    error = refused(404, "Invalid URL (POST /v1/chat/completion)")

    assert type(error) is ProviderBadResponse
    assert error.status == 404


@pytest.mark.parametrize(
    "secret", ["sk-proj-abc123def", "gsk_abc123def", "sk-ab***yz", "AIzaSyA1234567890abcdefg", "key-of-acme"]
)
def test_no_key_is_shown_to_anybody(secret: str) -> None:
    told = rejected(400, f"The key {secret} may not use 'temperature'.")

    assert secret not in told.message
    assert told.message == "The key [redacted] may not use 'temperature'."


def test_a_key_of_the_operators_is_not_shown_either() -> None:
    target = a_target(headers={"Authorization": "Bearer house-secret"})

    assert rejected(400, "Not with house-secret.", target).message == "Not with [redacted]."


def test_a_short_key_does_not_eat_ordinary_words() -> None:
    target = Target(a_target().provider, a_target().model, "gpt-4o", key="a")

    assert rejected(400, "a bad parameter: 'a'", target).message == "[redacted] bad parameter: '[redacted]'"


def test_a_message_is_bounded_and_printable() -> None:
    told = rejected(400, "one\r\ntwo\u2028three\x00\x1b[31m" + "x" * 100_000)

    assert told.message.startswith("one two three [31mxxx")
    assert len(told.message) == MAX_MESSAGE


@pytest.mark.parametrize("code", [400, True, None, "two words", "x" * 65, "é", {"x": 1}])
def test_a_code_that_is_none_is_replaced(code: object) -> None:
    assert rejected(400, {"error": {"message": "No.", "code": code, "param": 7}}).code == "invalid_request"


# --- how long to wait ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1e9"}, 300.0),
        ({"retry-after": "9" * 20}, 300.0),
        ({"retry-after": "abc"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "\uff15"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": formatdate(NOW + 7, usegmt=True)}, 7.0),
        ({"retry-after": formatdate(NOW - 7, usegmt=True)}, 0.0),
        ({"retry-after": formatdate(NOW + 10**6, usegmt=True)}, 300.0),
        ({"retry-after": "Wed, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "5"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "5"}, 5.0),
        ({"retry-after-ms": "-1"}, 0.0),
        ({"retry-after-ms": "1e9"}, 300.0),
    ],
)
def test_a_wait_is_sane_or_none(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()

    seconds = retry_after({"retry-after": formatdate(NOW + 7)}, NOW)

    monkeypatch.undo()
    time.tzset()
    assert seconds == 7.0


def test_a_rate_limit_says_when_to_come_back() -> None:
    error = refused(429, "Slow down.", headers={"retry-after": "5"})

    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after == 5.0


# --- errors in the place of answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "No.", "type": "server_error", "code": None}, ProviderError),
        ({"message": "No.", "code": 429}, ProviderRateLimited),
        ({"message": "No.", "code": "503"}, ProviderError),
        ({"message": "No.", "code": 400}, ProviderRejected),
        ({"message": "No.", "type": "invalid_request_error", "code": "rate_limit_exceeded"}, ProviderRateLimited),
        ({"message": "No.", "type": "insufficient_quota"}, ProviderOutOfQuota),
        ({"message": "No.", "type": "authentication_error"}, ProviderRefusedKey),
        ({"message": "No.", "type": "overloaded_error"}, ProviderError),
        ({"message": "No.", "type": "invalid_request_error"}, ProviderRejected),
        ({"message": "No.", "code": "model_not_found"}, ProviderRejected),
        ({"message": "No.", "status": "DEADLINE_EXCEEDED"}, ProviderTimeout),
        ({"message": "No.", "code": 200}, ProviderError),
        ("text alone", ProviderError),
        ({}, ProviderError),
        ([], ProviderError),
        (True, ProviderError),
    ],
)
def test_an_error_object_is_known_by_its_own_code_and_type(error: Any, kind: type[ProviderError]) -> None:
    assert type(failure({"error": error}, a_target())) is kind


# --- the connection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("x"), ProviderUnreachable),
        (httpx.ConnectTimeout("x"), ProviderUnreachable),
        (httpx.PoolTimeout("x"), ProviderUnreachable),
        (httpx.UnsupportedProtocol("x"), ProviderUnreachable),
        (httpx.InvalidURL("x"), ProviderUnreachable),
        (httpx.ReadTimeout("x"), ProviderTimeout),
        (httpx.WriteTimeout("x"), ProviderTimeout),
        (TimeoutError(), ProviderTimeout),
        (httpx.ReadError("x"), ProviderTruncated),
        (httpx.WriteError("x"), ProviderTruncated),
        (httpx.RemoteProtocolError("x"), ProviderBadResponse),
        (httpx.DecodingError("x"), ProviderError),
    ],
)
def test_a_broken_connection_becomes_a_kind_too(raised: Exception, kind: type[ProviderError]) -> None:
    with pytest.raises(ProviderError) as error, provider_errors("before the answer"):
        raise raised

    assert type(error.value) is kind
    assert error.value.detail == f"{type(raised).__name__} before the answer"
    assert error.value.__cause__ is raised


def test_other_exceptions_are_nobodys_but_their_own() -> None:
    with pytest.raises(KeyError), provider_errors("before the answer"):
        raise KeyError("x")
