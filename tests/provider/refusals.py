"""Answers that are well-formed HTTP and no completion: error statuses, and rubbish that calls itself 200."""

from collections.abc import Mapping
from email.utils import formatdate

from tests.provider.answers import echo
from tests.provider.ask import Ask
from tests.provider.delivery import Behaviour, deliver
from tests.provider.exchange import Exchange, Json
from tests.provider.reply import whole

#: status -> (type, code) as OpenAI sends them; anything else is a ``server_error``.
KINDS: Mapping[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "server_is_overloaded"),
    529: ("overloaded_error", None),
}
HTML = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body><h1>nginx</h1></body></html>\n"
#: How a status is dressed: value -> (content type, body).
DRESSES: Mapping[str, tuple[str, str]] = {
    "html": ("text/html; charset=utf-8", HTML),
    "plain": ("text/plain", "upstream connect error or disconnect/reset before headers"),
    "empty": ("application/json", ""),
}


def error_body(message: str, kind: str, code: str | None = None, *, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def status(exchange: Exchange, ask: Ask) -> None:
    code, _, dress = ask.name.value.partition("-")
    await refuse(exchange, ask, int(code or 500), dress)


async def refuse(exchange: Exchange, ask: Ask, code: int, dress: str = "") -> None:
    """Answer ``code``, dressed as its name says; 204 and 304 never have a body."""
    headers = _retry_headers(ask)
    if code in (204, 304):
        await exchange.head(code, headers)
    elif dress:
        content_type, body = DRESSES[dress]
        await exchange.respond(code, body.encode(), content_type=content_type, headers=headers)
    else:
        kind, reason = KINDS.get(code, ("server_error", None))
        await exchange.json(code, error_body(f"Scripted status {code}.", kind, reason), headers)


def _retry_headers(ask: Ask) -> list[tuple[str, str]]:
    settings, headers = ask.name.settings, []
    if "ra" in settings:
        words = {"neg": "-5", "date": formatdate(ask.created + 5, usegmt=True)}
        headers.append(("retry-after", words.get(settings["ra"], settings["ra"])))
    if "rams" in settings:
        headers.append(("retry-after-ms", settings["rams"]))
    return headers


def refusing(code: int, body: Json) -> Behaviour:
    async def behave(exchange: Exchange, ask: Ask) -> None:
        await exchange.json(code, body, _retry_headers(ask))

    return behave


def saying(body: str, content_type: str = "application/json") -> Behaviour:
    """Status 200 with ``body``, whatever it is."""

    async def behave(exchange: Exchange, ask: Ask) -> None:
        await exchange.respond(200, body.encode(), content_type=content_type)

    return behave


async def no_choices(exchange: Exchange, ask: Ask) -> None:
    body = {**whole(echo(ask), ask), "choices": []}
    if exchange.streamed:
        await exchange.start()
        await exchange.event({**body, "object": "chat.completion.chunk", "usage": None})
        await exchange.done()
    else:
        await exchange.json(200, body)


async def redirect(exchange: Exchange, ask: Ask) -> None:
    """To a path that answers and is recorded: a gateway that follows hands its key to whoever asks."""
    code = int(ask.name.value or 307)
    await exchange.respond(code, b"", headers=[("location", "/as/echo/v1/chat/completions")])


async def flap(exchange: Exchange, ask: Ask, turn: int) -> None:
    """Fail the ``turn`` that N divides; the server counts turns for each model's name."""
    if turn % ask.name.number("n", 2) == 0:
        await refuse(exchange, ask, 500)
    else:
        await deliver(exchange, ask, echo(ask))


CONTEXT = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."
FILTERED = "The response was filtered due to the prompt triggering our content management policy."
PARAM = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."
NO_MODEL = "The model `gone` does not exist or you do not have access to it."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
INVALID = "invalid_request_error"

REFUSALS: Mapping[str, Behaviour] = {
    "status": status,
    "error-context": refusing(400, error_body(CONTEXT, INVALID, "context_length_exceeded", param="messages")),
    "error-content-filter": refusing(400, error_body(FILTERED, INVALID, "content_filter", param="prompt")),
    "error-param": refusing(400, error_body(PARAM, INVALID, "decimal_above_max_value", param="temperature")),
    "error-model": refusing(404, error_body(NO_MODEL, INVALID, "model_not_found")),
    "error-quota": refusing(429, error_body(QUOTA, "insufficient_quota", "insufficient_quota")),
    "error-in-200": refusing(200, error_body("Scripted error in a 200.", "server_error")),
    "html-200": saying(HTML, "text/html; charset=utf-8"),
    "empty-200": saying(""),
    "json-array": saying("[1, 2, 3]"),
    "not-json": saying('{"id": "chatcmpl-1", "choices": [{'),
    "no-choices": no_choices,
    "redirect": redirect,
}
