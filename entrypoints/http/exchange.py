"""One HTTP exchange, from its first byte to its access line: what every endpoint shares, whatever it answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sanic import HTTPResponse, Request

from domain.chat import Usage
from domain.errors import InternalError, SluiceError
from domain.facts import RequestServed, Unexpected
from domain.ports import Entropy, Journal
from domain.rate import Verdict
from domain.runs import Ending, Run
from domain.spans import Span, Tracing
from domain.tenants import Tenant
from entrypoints.http.cors import cors_headers
from entrypoints.http.errors import Manners, answer
from entrypoints.http.headers import rate_limit_headers, usable_request_id

JSON = "application/json"
#: What nginx logs where the client left before there was an answer; it never goes over the wire.
CLIENT_CLOSED_REQUEST = 499


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far, for its headers and its access line."""

    request_id: str
    route: str
    manners: Manners
    started: float = field(default_factory=time.perf_counter)
    status: int = CLIENT_CLOSED_REQUEST
    tenant: str | None = None
    provider: str | None = None
    model: str | None = None
    run_id: str | None = None
    error_code: str | None = None
    usage: Usage | None = None
    charged: int | None = None
    location: str | None = None
    verdict: Verdict | None = None
    cache: str | None = None
    replayed: bool = False
    span: Span | None = None
    asked: int = 0
    origin: str | None = None
    cors: dict[str, str] = field(default_factory=dict)

    def serves(self, tenant: Tenant) -> None:
        """Take note of whose answer this will be, and of the page in a browser that may read it."""
        self.tenant = tenant.id
        self.cors = cors_headers(self.origin, tenant)

    def knows(self, run: Run, location: str) -> None:
        """Take note of the run that this exchange is about, and of where it can be fetched."""
        self.run_id = run.id
        self.location = location
        self.learns(run)

    def learns(self, run: Run) -> None:
        """Take note of who answers, as far as the run or its source tells."""
        self.provider = run.provider
        self.model = run.model
        self.asked = run.asked

    def saw(self, ending: Ending) -> None:
        """Take note of how the run ended."""
        self.usage = ending.usage
        self.charged = ending.charged
        self.error_code = ending.error.code if ending.error is not None else None

    def headers(self) -> dict[str, str]:
        """The headers of a completion, as far as they are known."""
        headers = {"X-Request-Id": self.request_id, **self.cors}
        if self.verdict is not None:
            headers |= rate_limit_headers(self.verdict)
        if self.run_id is not None:
            headers["X-Completion-Id"] = self.run_id
        if self.provider is not None:
            headers["X-Sluice-Provider"] = self.provider
        if self.asked:
            headers["X-Sluice-Attempts"] = str(self.asked)
        if self.location is not None:
            headers["Content-Location"] = self.location
        if self.cache is not None:
            headers["X-Cache"] = self.cache
        if self.replayed:
            headers["Idempotent-Replayed"] = "true"
        return headers

    def fact(self, method: str) -> RequestServed:
        return RequestServed(
            request_id=self.request_id,
            method=method,
            route=self.route,
            status_code=self.status,
            duration_ms=round((time.perf_counter() - self.started) * 1000, 3),
            tenant=self.tenant,
            provider=self.provider,
            model=self.model,
            run_id=self.run_id,
            error_code=self.error_code,
            prompt_tokens=self.usage.prompt_tokens if self.usage else None,
            completion_tokens=self.usage.completion_tokens if self.usage else None,
            charged_tokens=self.charged,
            span=self.span,
        )


#: An endpoint answers with a response, or with None once it has streamed one.
Endpoint: TypeAlias = Callable[[Request, Exchange], Awaitable[HTTPResponse | None]]


@dataclass(slots=True)
class Exchanges:
    """Runs endpoints: gives each request its id, turns errors into answers, writes the access line.

    ``open`` is how many requests are being answered.
    """

    journal: Journal
    entropy: Entropy
    tracing: Tracing | None = None
    open: int = field(default=0, init=False)

    def begin(self, request: Request | None, route: str, manners: Manners) -> Exchange:
        """A new exchange; without a request where nothing arrived that is one."""
        given = usable_request_id(request.headers) if request is not None else None
        origin = request.headers.get("origin") if request is not None else None
        exchange = Exchange(given or f"req_{self.entropy(16).hex()}", route, manners, origin=origin)
        if self.tracing is not None:
            exchange.span = self.tracing.begin(request.headers.get("traceparent") if request is not None else None)
        return exchange

    async def run(self, request: Request, route: str, manners: Manners, endpoint: Endpoint) -> HTTPResponse | None:
        """Answer one request. Whatever goes wrong leaves in the surface's dialect."""
        exchange = self.begin(request, route, manners)
        self.open += 1
        try:
            response = await self._answered(request, exchange, endpoint)
            if response is not None:
                exchange.status = response.status
            return response
        finally:
            self.open -= 1
            self.journal.record(exchange.fact(request.method))

    async def finish(self, seconds: float) -> None:
        """Wait until every request under way has its whole answer, at most for so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.open:  # noqa: ASYNC110 - an event to be set by each request would cost more than this ever does
                    await asyncio.sleep(0.01)

    async def _answered(self, request: Request, exchange: Exchange, endpoint: Endpoint) -> HTTPResponse | None:
        try:
            return await endpoint(request, exchange)
        except asyncio.CancelledError:
            raise
        except SluiceError as error:
            return self.refuse(exchange, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours is still answered in the surface's dialect
            self.journal.record(Unexpected(exchange.route, error, exchange.request_id))
            return self.refuse(exchange, InternalError())

    def refuse(self, exchange: Exchange, error: SluiceError) -> HTTPResponse:
        """The answer to a request that ends with this error."""
        told = answer(error, exchange.manners, exchange.request_id)
        exchange.error_code = error.code
        exchange.status = told.status
        headers = {**exchange.headers(), **told.headers}
        return HTTPResponse(told.body, told.status, headers, told.media_type)


def json_response(
    body: bytes, exchange: Exchange, headers: dict[str, Any] | None = None, *, status: int = 200
) -> HTTPResponse:
    """A whole answer."""
    return HTTPResponse(body, status, {**exchange.headers(), **(headers or {})}, JSON)
