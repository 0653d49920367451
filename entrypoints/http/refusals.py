"""Answers in the surface's dialect where no handler ran: no such route, wrong method, too large, malformed."""

from collections.abc import Callable
from typing import Any

from sanic import HTTPResponse, Request
from sanic.exceptions import (
    BadURL,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestCancelled,
    SanicException,
    URITooLong,
)
from sanic.handlers import ErrorHandler

from domain.errors import InternalError, SluiceError
from domain.facts import Unexpected
from entrypoints.http.errors import HttpRefusal, Manners
from entrypoints.http.exchange import CLIENT_CLOSED_REQUEST, Exchange, Exchanges


class AnswerableRequest(Request):
    """Sanic's request, which can also be made where its URL cannot be parsed: the refusal of it needs one to go out."""

    def __init__(self, url_bytes: bytes, **rest: Any) -> None:
        try:
            super().__init__(url_bytes, **rest)
        except (BadURL, URITooLong):
            # Only the stand-in that Sanic makes for its error handler comes without the head of a request.
            if rest.get("head"):
                raise
            super().__init__(b"*", **rest)


class Refusals(ErrorHandler):
    """Sanic's error handler, replaced whole: its own pages know neither our dialects nor our request ids."""

    def __init__(self, exchanges: Exchanges, manners_of: Callable[[str], Manners]) -> None:
        super().__init__()
        self._exchanges = exchanges
        self._manners_of = manners_of

    def response(self, request: Request, exception: BaseException) -> HTTPResponse:
        if isinstance(exception, RequestCancelled):
            # The client has left in mid-request. Whoever was answering has written its access line already.
            return HTTPResponse(status=CLIENT_CLOSED_REQUEST)
        exchange = self._begin(request)
        error = _refusal(request, exception)
        if isinstance(error, InternalError):
            self._exchanges.journal.record(Unexpected(exchange.route, exception, exchange.request_id))
        response = self._exchanges.refuse(exchange, error)
        self._exchanges.journal.record(exchange.fact(request.method))
        return response

    def _begin(self, request: Request) -> Exchange:
        manners = self._manners_of(request.path.lstrip("/").partition("/")[0])
        return self._exchanges.begin(request, "(none)", manners)


def _refusal(request: Request, exception: BaseException) -> SluiceError:
    match exception:
        case SluiceError():
            return exception
        case NotFound():
            return HttpRefusal(f"Invalid URL ({_shown(request)})", status=404, code="unknown_url")
        case MethodNotAllowed():
            return HttpRefusal(
                f"Not allowed to {_shown(request)}. (HINT: Perhaps you meant to use a different HTTP method?)",
                status=405,
                code="method_not_supported",
                headers={name: str(value) for name, value in exception.headers.items()},
            )
        case PayloadTooLarge():
            return HttpRefusal("The body of your request is too large.", status=413, code="payload_too_large")
        case SanicException(status_code=status) if 400 <= status < 500:
            return HttpRefusal("The request is malformed.", status=status, code="bad_request")
        case SanicException(status_code=503):
            # Sanic's response timeout: nothing was answered in time.
            return HttpRefusal("The request took too long.", status=503, code="timeout")
        case _:
            return InternalError()


def _shown(request: Request) -> str:
    path = "".join(char if char.isprintable() else "?" for char in request.path)
    return f"{request.method} {path[:200]}"
