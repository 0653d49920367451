"""Header values that are more than a string: durations, rate limits, preferences."""

import re
from collections.abc import Mapping

from domain.rate import Verdict

#: Seconds that ``Prefer: wait`` can ask for at most; proxies cut longer silences.
MAX_WAIT = 60
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.IGNORECASE)


def rate_limit_headers(verdict: Verdict) -> dict[str, str]:
    """OpenAI's six ``x-ratelimit-*`` headers, as far as the tenant has such meters."""
    headers: dict[str, str] = {}
    for reading in verdict.readings:
        headers[f"x-ratelimit-limit-{reading.what}"] = str(reading.limit)
        headers[f"x-ratelimit-remaining-{reading.what}"] = str(reading.remaining)
        headers[f"x-ratelimit-reset-{reading.what}"] = duration(reading.reset)
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


def preferred_wait(prefer: str | None) -> int | None:
    """The seconds of ``Prefer: wait=N``, bounded; None without one. A malformed preference is no preference.

    https://www.rfc-editor.org/rfc/rfc7240#section-4.3
    """
    for preference in (prefer or "").split(","):
        match = _WAIT.fullmatch(preference.partition(";")[0].strip())
        if match is not None:
            return min(int(match[1]), MAX_WAIT)
    return None


def usable_request_id(headers: Mapping[str, str]) -> str | None:
    """The request id that the client sent, where it is fit to be logged and echoed."""
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None
