"""Liveness and readiness, for whoever restarts replicas and routes to them; numbers, for whoever watches them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
from sanic import HTTPResponse, Request

from domain.ports import Dependency
from entrypoints.http.errors import Dialect, Manners
from entrypoints.http.exchange import JSON, Endpoint, Exchange

MANNERS = Manners(Dialect.OPENAI)

#: Tells the numbers in a form that an Accept header takes, and its content type.
TellMetrics: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str]]]


@dataclass(slots=True)
class Ops:
    """``/healthz`` says that the process answers; ``/readyz`` that what it depends on does, too; ``/metrics`` the rest.

    ``check_seconds`` bounds each dependency's answer. Without ``tell`` there are no metrics; where it does
    not tell everybody, they are for operators.
    """

    dependencies: Sequence[Dependency]
    tell: TellMetrics | None = None
    tells_everybody: bool = True
    check_seconds: float = 2.0
    draining: bool = field(default=False)

    def endpoints(self, *, inside: bool = False) -> Mapping[str, Endpoint]:
        """What stands where; ``inside`` is the port of the operators."""
        has_metrics = self.tell is not None and (self.tells_everybody or inside)
        told: Mapping[str, Endpoint] = {"/metrics": self.metrics} if has_metrics else {}
        return {"/healthz": self.health, "/readyz": self.ready, **told}

    async def health(self, request: Request, exchange: Exchange) -> HTTPResponse:
        return _told(exchange, 200, {"status": "ok"})

    async def ready(self, request: Request, exchange: Exchange) -> HTTPResponse:
        reasons = await asyncio.gather(*(self._check(dependency) for dependency in self.dependencies))
        checks = {d.name: reason or "ok" for d, reason in zip(self.dependencies, reasons, strict=True)}
        if self.draining:
            checks["drain"] = "shutting down"
        ready = not self.draining and not any(reasons)
        return _told(exchange, 200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": checks})

    async def metrics(self, request: Request, exchange: Exchange) -> HTTPResponse:
        assert self.tell is not None  # noqa: S101 - without it there is no route
        body, content_type = await self.tell(request.headers.get("accept", ""))
        return HTTPResponse(body, 200, {**exchange.headers(), "Cache-Control": "no-store"}, content_type)

    async def _check(self, dependency: Dependency) -> str | None:
        try:
            async with asyncio.timeout(self.check_seconds):
                return await dependency.check()
        except TimeoutError:
            return "no answer in time"


def _told(exchange: Exchange, status: int, body: dict[str, object]) -> HTTPResponse:
    headers = {**exchange.headers(), "Cache-Control": "no-store"}
    return HTTPResponse(orjson.dumps(body), status, headers, JSON)
