"""Which pages in a browser may read answers: those whose origin the tenant names. Others are answered all the same.

Who may ask is a matter of tokens and groups; this is about what browsers let a page see. There are no credentials in
it: tokens are sent by pages themselves, and cookies are not heeded.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from dataclasses import dataclass

from sanic import HTTPResponse, Request

from domain.ids import is_id
from domain.ports import TenantStore
from domain.providers import ProviderRegistry
from domain.tenants import Tenant

#: What pages may read of an answer besides what they always may.
EXPOSED = ", ".join((
    "X-Request-Id", "X-Error-Code", "X-Completion-Id", "X-Sluice-Provider", "X-Sluice-Attempts",
    "X-Sluice-Charged-Tokens", "X-Cache", "Content-Location", "Idempotent-Replayed", "Preference-Applied",
    "Retry-After", "retry-after-ms", "x-should-retry", "WWW-Authenticate",
    "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
))  # fmt: skip
#: Seconds for which a browser need not ask again; none keeps an answer for longer than two hours.
_KEPT = "7200"
#: Names of headers, as a browser lists them.
_NAMES = re.compile(r"[A-Za-z0-9-]+(?:[ \t]*,[ \t]*[A-Za-z0-9-]+){0,63}")


def cors_headers(origin: str | None, tenant: Tenant) -> dict[str, str]:
    """What tells a browser whether the page of this origin may read an answer of the tenant's."""
    if not tenant.allowed_origins:
        return {}
    if origin is None or not tenant.welcomes(origin):
        return {"Vary": "Origin"}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED, "Vary": "Origin"}


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what it may send, before it sends it."""
    if request.method != "OPTIONS" or "origin" not in request.headers:
        return False
    return request.headers.get("access-control-request-method") is not None


@dataclass(frozen=True, slots=True)
class Preflights:
    """Answers browsers that ask what they may send. They ask without a token, and without naming the tenant."""

    tenants: TenantStore
    registry: ProviderRegistry

    async def answer(self, request: Request, methods: str) -> HTTPResponse:
        """That the page may send this, or that it may not, which is the same without the headers."""
        origin = request.headers["origin"]
        scope = request.path.lstrip("/").partition("/")[0]
        if not await self._may_be_welcome(scope, origin):
            return HTTPResponse(status=204, headers={"Vary": "Origin"})
        return HTTPResponse(status=204, headers=_allowed(request, origin, methods))

    async def _may_be_welcome(self, scope: str, origin: str) -> bool:
        if scope == "v1" or scope in self.registry:
            # Any tenant's page: the answer itself is for those of the tenant alone.
            return True
        tenant = await self.tenants.get(scope) if is_id(scope) else None
        return tenant is not None and tenant.welcomes(origin)


def _allowed(request: Request, origin: str, methods: str) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Max-Age": _KEPT,
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    asked = request.headers.get("access-control-request-headers", "")
    if _NAMES.fullmatch(asked):
        headers["Access-Control-Allow-Headers"] = asked
    return headers
