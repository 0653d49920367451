"""Header values that are more than a string: durations, rate limits, preferences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from domain.errors import InvalidIdempotencyKey
from domain.rate import Verdict, tightest

#: Seconds that ``Prefer: wait`` can ask for at most; proxies cut longer silences.
MAX_WAIT = 60
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.IGNORECASE)


def rate_limit_headers(verdict: Verdict) -> dict[str, str]:
    """OpenAI's six ``x-ratelimit-*`` headers, as far as the tenant has such meters: of several, the tightest.

    One of ours says where this replica decided alone.
    """
    headers: dict[str, str] = {}
    for reading in tightest(verdict.readings):
        headers[f"x-ratelimit-limit-{reading.what}"] = str(reading.limit)
        headers[f"x-ratelimit-remaining-{reading.what}"] = str(reading.remaining)
        headers[f"x-ratelimit-reset-{reading.what}"] = duration(reading.reset)
    if verdict.local:
        headers["X-Sluice-Rate-Limit"] = "local"
    return headers


def duration(seconds: float) -> str:
    """OpenAI's notation: ``12ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    shown = f"{rest / 1000:g}s"
    if not minutes:
        return shown
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{shown}" if hours else f"{minutes}m{shown}"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client would like (RFC 7240): to wait up to so many seconds for the outcome, and not to wait for it."""

    wait: int | None = None
    respond_async: bool = False

    def applied(self, *names: str) -> dict[str, str]:
        """The header that says which of these preferences are heeded."""
        told = (("respond-async", self.respond_async), (f"wait={self.wait}", self.wait is not None))
        heeded = [name for name, given in told if given and name.partition("=")[0] in names]
        return {"Preference-Applied": ", ".join(heeded)} if heeded else {}


def preferences(prefer: str | None) -> Preferences:
    """The preferences in a ``Prefer`` header, bounded. What is malformed is no preference; the first of a kind counts.

    https://www.rfc-editor.org/rfc/rfc7240#section-4
    """
    wait: int | None = None
    respond_async = False
    for preference in (prefer or "").split(","):
        token = preference.partition(";")[0].strip()
        match = _WAIT.fullmatch(token)
        if match is not None and wait is None:
            wait = min(int(match[1]), MAX_WAIT)
        respond_async = respond_async or token.lower() == "respond-async"
    return Preferences(wait, respond_async)


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The ``Idempotency-Key`` that the client sent, None where it sent none.

    Raises:
        InvalidIdempotencyKey: it is empty, too long, or has other characters than printable ASCII.
    """
    given = headers.get("idempotency-key")
    if given is not None and not _IDEMPOTENCY_KEY.fullmatch(given):
        raise InvalidIdempotencyKey
    return given


def read_timeout(headers: Mapping[str, str]) -> float | None:
    """Seconds that the client waits for anything to come, less what an error takes to reach it; None where it did not
    say, or said nothing usable. OpenAI's own clients send it with every request.
    """
    given = headers.get("x-stainless-read-timeout", "")
    seconds = float(given) if _SECONDS.fullmatch(given) else 0.0
    return seconds - min(seconds / 20, 1.0) if seconds > 0 else None


def usable_request_id(headers: Mapping[str, str]) -> str | None:
    """The request id that the client sent, where it is fit to be logged and echoed."""
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None
