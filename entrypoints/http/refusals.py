"""Answers in the surface's dialect where no handler ran: no such route, wrong method, too large, malformed."""

from collections.abc import Callable

from sanic import HTTPResponse, Request
from sanic.exceptions import (
    MethodNotAllowed,
    NotFound,
    RequestCancelled,
    SanicException,
)
from sanic.handlers import ErrorHandler

from domain.errors import InternalError, SluiceError
from domain.facts import Unexpected
from entrypoints.http.cors import Preflights, is_preflight
from entrypoints.http.errors import HttpRefusal, Manners
from entrypoints.http.exchange import CLIENT_CLOSED_REQUEST, Exchange, Exchanges
from entrypoints.http.head import malformed
from entrypoints.http.response_head import response_head


class Refusals(ErrorHandler):
    """Sanic's error handler, replaced whole: its own pages know neither our dialects nor our request ids."""

    def __init__(
        self, exchanges: Exchanges, manners_of: Callable[[str], Manners], preflights: Preflights | None = None
    ) -> None:
        super().__init__()
        self._preflights = preflights
        self._exchanges = exchanges
        self._manners_of = manners_of

    async def response(self, request: Request, exception: BaseException) -> HTTPResponse:
        # Sanic awaits what is awaitable.
        if isinstance(exception, RequestCancelled):
            # The client has left in mid-request. Whoever was answering has written its access line already.
            return HTTPResponse(status=CLIENT_CLOSED_REQUEST)
        exchange = self._begin(request)
        if isinstance(exception, MethodNotAllowed) and self._preflights is not None and is_preflight(request):
            return await self._preflight(request, exchange, str(exception.headers["Allow"]))
        error = _refusal(request, exception)
        if isinstance(error, InternalError):
            self._exchanges.journal.record(Unexpected(exchange.route, exception, exchange.request_id))
        response = self._exchanges.refuse(exchange, error)
        self._exchanges.journal.record(exchange.fact(request.method))
        return response

    async def _preflight(self, request: Request, exchange: Exchange, methods: str) -> HTTPResponse:
        assert self._preflights is not None  # noqa: S101 - asked before
        response = await self._preflights.answer(request, methods)
        response.headers["X-Request-Id"] = exchange.request_id
        exchange.status = response.status
        self._exchanges.journal.record(exchange.fact(request.method))
        return response

    def bare(self, refusal: HttpRefusal, path: str = "") -> bytes:
        """The whole answer to what could not become a request, ending its connection."""
        exchange = self._exchanges.begin(None, "(none)", self._manners_of(path.lstrip("/").partition("/")[0]))
        response = self._exchanges.refuse(exchange, refusal)
        self._exchanges.journal.record(exchange.fact("NONE"))
        body = response.body or b""
        return response_head(response, f"content-length: {len(body)}\r\n", keep_alive=False) + body

    def report(self, error: Exception) -> None:
        """Have a defect logged that was met outside of any request."""
        self._exchanges.journal.record(Unexpected("(none)", error))

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
        case SanicException(status_code=status) if 400 <= status < 500:
            return malformed("it is none that can be answered")
        case SanicException(status_code=503):
            # Sanic's response timeout: nothing was answered in time.
            return HttpRefusal("The request took too long.", status=503, code="timeout")
        case _:
            return InternalError()


def _shown(request: Request) -> str:
    path = "".join(char if char.isprintable() else "?" for char in request.path)
    return f"{request.method} {path[:200]}"
