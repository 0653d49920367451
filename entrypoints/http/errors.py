"""One table from the kind of an error to its status and type, and the dialects in which surfaces tell it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

import orjson

from domain.administration.errors import InvalidDocument
from domain.chat import JsonObject
from domain.errors import (
    AmbiguousToken,
    DailyTokensSpent,
    InsufficientScope,
    InsufficientTokens,
    Kind,
    NotAuthenticated,
    RateLimited,
    SluiceError,
)
from entrypoints.http.headers import rate_limit_headers


class Dialect(Enum):
    """How a surface dresses an error."""

    PLAIN = "plain"
    """``{"error": "<message>"}``"""
    OPENAI = "openai"
    """``{"error": {"message", "type", "param", "code"}}``, always with all four."""
    PROBLEM = "problem"
    """Problem details: https://www.rfc-editor.org/rfc/rfc9457"""


@dataclass(frozen=True, slots=True)
class Manners:
    """What differs between surfaces when something is wrong: dialect, and two statuses.

    ``quota_dialect`` is the dialect for an empty balance, which the tenant surface tells plainly.
    """

    dialect: Dialect
    invalid_status: int = 400
    model_status: int = 400
    quota_dialect: Dialect | None = None


#: Kind: (status, OpenAI's type). The two statuses that differ between surfaces stand as 0.
_TABLE: Mapping[Kind, tuple[int, str]] = {
    Kind.INVALID: (0, "invalid_request_error"),
    Kind.MISPLACED: (400, "invalid_request_error"),
    Kind.MISMATCHED: (422, "invalid_request_error"),
    Kind.UNSUPPORTED_MODEL: (0, "invalid_request_error"),
    Kind.TOO_LONG: (400, "invalid_request_error"),
    Kind.UNAUTHENTICATED: (401, "invalid_request_error"),
    Kind.FORBIDDEN: (403, "invalid_request_error"),
    Kind.NOT_FOUND: (404, "invalid_request_error"),
    Kind.CONFLICT: (409, "invalid_request_error"),
    Kind.CHANGED: (412, "invalid_request_error"),
    Kind.GONE: (410, "invalid_request_error"),
    Kind.RATE_LIMITED: (429, "requests"),
    Kind.OUT_OF_TOKENS: (429, "insufficient_quota"),
    Kind.PROVIDER_REJECTED: (400, "invalid_request_error"),
    Kind.PROVIDER_LIMITED: (429, "requests"),
    Kind.PROVIDER_FAILED: (502, "server_error"),
    Kind.PROVIDER_TIMED_OUT: (504, "server_error"),
    Kind.INTERRUPTED: (503, "server_error"),
    Kind.UNAVAILABLE: (503, "service_unavailable_error"),
    Kind.INTERNAL: (500, "server_error"),
}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error, ready for the wire."""

    status: int
    body: bytes
    headers: dict[str, str]
    media_type: str = "application/json"


class HttpRefusal(SluiceError):
    """What HTTP itself has to say: no such route, wrong method, too large, wrong media type."""

    kind = Kind.INVALID

    def __init__(self, message: str, *, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def status_of(error: SluiceError, manners: Manners) -> int:
    if isinstance(error, HttpRefusal):
        return error.status
    if error.code == "model_not_found" and error.kind in (Kind.UNSUPPORTED_MODEL, Kind.PROVIDER_REJECTED):
        # Whoever found that there is no such model, the catalogue or the provider, it is the same mistake.
        return manners.model_status
    return _TABLE[error.kind][0] or manners.invalid_status


def error_object(error: SluiceError) -> JsonObject:
    """OpenAI's error object."""
    return {"message": error.message, "type": _type_of(error), "param": error.param, "code": error.code}


def answer(error: SluiceError, manners: Manners, request_id: str) -> ErrorAnswer:
    """The answer to a request that ends with this error."""
    dialect = manners.dialect
    if error.kind is Kind.OUT_OF_TOKENS and manners.quota_dialect is not None:
        dialect = manners.quota_dialect
    status = status_of(error, manners)
    headers = {"X-Request-Id": request_id, "X-Error-Code": error.code, **_headers_of(error)}
    if dialect is Dialect.PROBLEM:
        told = orjson.dumps(_problem(error, status, request_id))
        return ErrorAnswer(status, told, headers, "application/problem+json")
    inside: object = error.message if dialect is Dialect.PLAIN else error_object(error)
    return ErrorAnswer(status, orjson.dumps({"error": inside}), headers)


def _problem(error: SluiceError, status: int, request_id: str) -> JsonObject:
    problem: JsonObject = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.param is not None:
        problem["param"] = error.param
    if isinstance(error, InvalidDocument):
        problem["errors"] = [{"pointer": flaw.pointer, "detail": flaw.what} for flaw in error.flaws]
    return problem


def _type_of(error: SluiceError) -> str:
    if isinstance(error, RateLimited):
        # OpenAI's type says which of its meters refused: requests or tokens. It has none for too many at once.
        return "tokens" if error.verdict.refused_by == "tokens" else "requests"
    if isinstance(error, HttpRefusal) and error.status >= 500:
        return "server_error"
    return _TABLE[error.kind][1]


def _headers_of(error: SluiceError) -> dict[str, str]:
    if isinstance(error, HttpRefusal):
        return error.headers
    if isinstance(error, NotAuthenticated | AmbiguousToken | InsufficientScope):
        return {"WWW-Authenticate": _challenge(error)}
    if isinstance(error, RateLimited):
        return {**rate_limit_headers(error.verdict), **_retry(error.verdict.retry_after)}
    if isinstance(error, InsufficientTokens):
        # The OpenAI clients would retry a 429, and no waiting fills a balance.
        return {"x-should-retry": "false"}
    if isinstance(error, DailyTokensSpent):
        # When the budget begins again is worth knowing, but no client should sit and wait for it.
        return {"x-should-retry": "false", **_retry(error.retry_after)}
    after = getattr(error, "retry_after", None)
    return _retry(after) if after is not None else {}


def _challenge(error: NotAuthenticated | AmbiguousToken | InsufficientScope) -> str:
    """RFC 6750, section 3: a request without credentials is told no error code."""
    challenge = 'Bearer realm="sluice"'
    if error.reason is None:
        return challenge
    told = f'{challenge}, error="{error.reason}", error_description="{error.message}"'
    return f'{told}, scope="{error.scope}"' if isinstance(error, InsufficientScope) else told


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds))), "retry-after-ms": str(max(1, math.ceil(seconds * 1000)))}
