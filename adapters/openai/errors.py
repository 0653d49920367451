"""Every way in which a provider fails, as one of the domain's kinds.

What a provider says of a request that it rejects is passed on; nothing else of its bodies leaves this file.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from adapters.openai.connection import StaleConnection
from domain.errors import (
    ProviderBadResponse,
    ProviderError,
    ProviderHungUp,
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

#: Bounds of what is passed on: characters of a message, seconds of a wait. More of a message is not even looked at.
MAX_MESSAGE = 1000
_READ_MESSAGE = 10 * MAX_MESSAGE
MAX_RETRY_AFTER = 300.0


# --- the connection -----------------------------------------------------------------------------------------------


@contextmanager
def provider_errors(stage: str) -> Iterator[None]:
    """Raise the domain's kind for whatever httpx, its transport or a deadline raises inside; ``stage`` is for the log.

    Unreachable means that the request was not sent, hung up that it was most likely not seen: either may be repeated.
    """
    try:
        yield
    except (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
    ) as error:
        raise ProviderUnreachable(detail=f"{type(error).__name__} {stage}") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise ProviderTimeout(detail=f"{type(error).__name__} {stage}") from error
    except StaleConnection as error:
        raise ProviderHungUp(detail=f"{type(error).__name__} {stage}") from error
    except httpx.NetworkError as error:
        raise ProviderTruncated(detail=f"{type(error).__name__} {stage}") from error
    except httpx.ProtocolError as error:
        raise ProviderBadResponse(detail=f"{type(error).__name__} {stage}") from error
    except httpx.HTTPError as error:
        raise ProviderError(detail=f"{type(error).__name__} {stage}") from error


# --- what the provider says ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    """An error object, whoever's dialect it was in. Its message may be shown: it is bounded and has no keys in it.

    ``names`` are its code, type and status, in this order and in lower case.
    """

    message: str = ""
    code: str | None = None
    param: str | None = None
    status: int | None = None
    names: tuple[str, ...] = ()


def refusal(status: int, headers: Mapping[str, str], body: bytes, target: Target, now: float) -> ProviderError:
    """What an answer that is not a success means. ``now`` is in Unix seconds, for a Retry-After that is a date."""
    if 300 <= status < 400:
        return ProviderRedirected(detail="redirect", status=status)
    fault = _fault(_parsed(body), target)
    return _classified(status, fault, f"status {status}", retry_after(headers, now))


def failure(payload: object, target: Target) -> ProviderError:
    """What an error means that came where an answer was due: in a body of status 200 or in an event."""
    fault = _fault(payload, target) or _Fault()
    return _classified(_implied_status(fault), fault, "an error in the place of an answer", None)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from 0 to 300; None where the provider named no usable value.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after; the milliseconds are OpenAI's.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    return _bounded(seconds) if seconds is not None else _until(value, now)


#: Codes and types of a spent account, of a key that is not good, and of a model that is not there.
_OUT_OF_QUOTA = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})
_BAD_KEY = frozenset({"invalid_api_key", "api_key_invalid", "authentication_error"})
_NO_MODEL = frozenset({"model_not_found", "model_not_available", "invalid_model"})
_BAD_KEY_TEXT = re.compile(r"(?i)\b(?:incorrect|invalid|wrong) api.?key|api.?key (?:is )?(?:not valid|invalid)")
_NO_MODEL_TEXT = re.compile(
    r"(?i)\bmodels?\b.{0,200}\b(?:not found|not exist|no such|not supported|not available)|\b(?:no such|unknown) model"
)

#: The status that an error would have had, by its code or type: OpenAI's, then those of vLLM, Anthropic and Google.
#: https://developers.openai.com/api/docs/guides/error-codes
#: https://docs.claude.com/en/api/errors
#: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_STATUS: Mapping[str, int] = {
    **dict.fromkeys(("invalid_request_error", "badrequesterror", "invalid_argument", "content_filter"), 400),
    **dict.fromkeys(("context_length_exceeded", "exceed_context_size_error", "content_policy_violation"), 400),
    **dict.fromkeys((*_BAD_KEY, "unauthenticated"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys((*_NO_MODEL, "not_found_error", "notfounderror", "not_found"), 404),
    **dict.fromkeys(("timeout", "timeout_error", "deadline_exceeded"), 504),
    **dict.fromkeys((*_OUT_OF_QUOTA, "rate_limit_exceeded", "rate_limit_error", "resource_exhausted"), 429),
}

#: What a prompt that is too long is called by OpenAI, llama.cpp, Anthropic, Gemini, xAI, SGLang, Cohere and Together.
_TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG_TEXT = re.compile(
    r"(?i)maximum (?:context|prompt|model) length|context (?:length|window|size)|prompt is too long|input is too long"
    r"|input token count .{0,40}exceeds|too many tokens|max_new_tokens. must be"
)


def _classified(status: int, fault: _Fault | None, detail: str, wait: float | None) -> ProviderError:
    # Some say with a 400 that the key is wrong, and with a 402, 403 or 429 that the account is spent.
    if status == 402 or (status < 500 and _is_named(fault, _OUT_OF_QUOTA)):
        return ProviderOutOfQuota(status=status)
    if status in (401, 403) or (status == 400 and _is_of_key(fault)):
        return ProviderRefusedKey(status=status)
    if status == 429:
        return ProviderRateLimited(retry_after=wait, status=status)
    if status in (408, 504):
        return ProviderTimeout(detail=detail, status=status, wait=wait)
    if status in (400, 404, 413, 422):
        return _rejected(status, fault, detail)
    return ProviderError(detail=detail, status=status, wait=wait)


def _rejected(status: int, fault: _Fault | None, detail: str) -> ProviderError:
    if fault is None or not fault.message:
        # A proxy's page, most likely: nothing in it is meant for the caller.
        return ProviderBadResponse(detail=detail, status=status)
    code, param = fault.code, fault.param
    if _is_named(fault, _NO_MODEL) or (status == 404 and _NO_MODEL_TEXT.search(fault.message)):
        code, param = "model_not_found", "model"
    elif status == 404:
        # No such address: that is between the operator and the provider.
        return ProviderBadResponse(detail=detail, status=status)
    elif _is_named(fault, _TOO_LONG) or _TOO_LONG_TEXT.search(fault.message):
        code, param = "context_length_exceeded", param or "messages"
    return ProviderRejected(fault.message, code=code, param=param, status=status)


def _is_named(fault: _Fault | None, names: frozenset[str]) -> bool:
    return fault is not None and not names.isdisjoint(fault.names)


def _is_of_key(fault: _Fault | None) -> bool:
    return _is_named(fault, _BAD_KEY) or (fault is not None and _BAD_KEY_TEXT.search(fault.message) is not None)


def _implied_status(fault: _Fault) -> int:
    if fault.status is not None:
        return fault.status
    return next((_STATUS[name] for name in fault.names if name in _STATUS), 500)


# --- error objects ------------------------------------------------------------------------------------------------

#: A code ends up in a header.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARAM = re.compile(r"[\x20-\x7e]{1,200}")


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _fault(payload: object, target: Target) -> _Fault | None:
    """The error that a body tells of, None where it tells of none.

    Taken are {"error": {...}}, {"error": "text"}, {"message": ...} (vLLM), {"detail": ...} (FastAPI), and each of
    them as the only member of a list (Gemini).
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return None
    told = payload.get("error")
    error: dict[str, Any] = told if isinstance(told, dict) else payload
    message = next((text for text in map(_text, (told, error.get("message"), error.get("detail"))) if text), None)
    if message is None and error is payload:
        return None
    code, param = error.get("code"), error.get("param")
    return _Fault(
        _shown(message or "", target),
        code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        param=param if isinstance(param, str) and _PARAM.fullmatch(param) else _place(error.get("detail")),
        status=next((found for found in map(_status, (code, error.get("status"))) if found is not None), None),
        names=tuple(name.lower() for name in (code, error.get("type"), error.get("status")) if isinstance(name, str)),
    )


def _text(value: object) -> str | None:
    """A message; of FastAPI's list of complaints, the first. https://fastapi.tiangolo.com/tutorial/handling-errors/"""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0].get("msg")
    return value if isinstance(value, str) and value.strip() else None


def _place(detail: object) -> str | None:
    """The field that the first of FastAPI's complaints is about."""
    place = detail[0].get("loc") if isinstance(detail, list) and detail and isinstance(detail[0], dict) else None
    steps = [str(step) for step in place if step != "body"] if isinstance(place, list) else []
    field = ".".join(steps)
    return field if _PARAM.fullmatch(field) else None


def _status(value: object) -> int | None:
    number = int(value) if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value) else value
    return number if type(number) is int and 400 <= number <= 599 else None


# --- what may be shown --------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
#: The keys of OpenAI, Anthropic, OpenRouter, DeepSeek, Groq, Cerebras; of xAI, Perplexity, Nvidia; of Google.
_KEY = re.compile(
    r"\b(?:sk|rk|gsk|csk)[-_][\w*.-]{4,}|\b(?:xai|pplx|nvapi)-[\w*.-]{16,}|\bAIza[\w-]{16,}"
    r"|(?i:\bbearer)\s+[\w.~+/=-]{8,}"
)
_REDACTED = "[redacted]"


def _shown(message: str, target: Target) -> str:
    """A message as a caller may see it: without keys, without control characters, bounded."""
    message = message[:_READ_MESSAGE]
    for secret in _secrets(target):
        # A short one may well be part of an ordinary word, which is none of its business.
        pattern = re.escape(secret)
        message = re.sub(rf"(?<!\w){pattern}(?!\w)" if len(secret) < 8 else pattern, _REDACTED, message)
    return _CONTROL.sub(" ", _KEY.sub(_REDACTED, message)).strip()[:MAX_MESSAGE]


def _secrets(target: Target) -> list[str]:
    """The tenant's key, and what may be the operator's: the fixed headers."""
    fixed = (value.split() for value in target.provider.headers.values())
    return [secret for secret in (target.key, *(words[-1] for words in fixed if words)) if secret]


_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE]\+?[0-9]{1,2})?")


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded(moment.timestamp() - now)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
