"""``/v1/...``: the tenant in a header, the group in the body, jobs for those who do not stream."""

from dataclasses import dataclass

from sanic import HTTPResponse, Request

from domain.completions.callers import Callers
from domain.completions.orders import Order
from domain.ports import TokenVerifier
from domain.providers import Planner
from domain.tenants import Caller
from entrypoints.http.answering import Answering
from entrypoints.http.auth import authentication, principal_if_any
from entrypoints.http.draft import is_large, read_draft
from entrypoints.http.errors import Dialect, Manners
from entrypoints.http.exchange import Exchange
from entrypoints.http.models import list_models, show_model
from entrypoints.http.parsing import Fields

MANNERS = Manners(Dialect.PLAIN)
FIELDS = Fields(gateway=True, required=("messages", "group_id"))


@dataclass(frozen=True, slots=True)
class GroupSurface:
    """The surface of seed 000."""

    callers: Callers
    verifier: TokenVerifier
    planner: Planner
    answering: Answering

    async def create(self, request: Request, exchange: Exchange) -> HTTPResponse | None:
        tenant = await self.callers.tenant(request.headers.get("x-tenant-id"))
        exchange.serves(tenant)
        draft = await read_draft(request, anonymous=await self._is_too_much_for_nobody(request))
        caller = await self.callers.in_group(tenant, draft.peek("group_id"), authentication(request, self.verifier))
        run_id = self.answering.runs.announce(caller, "job")
        chat = draft.parse(FIELDS)
        order = Order(run_id, exchange.request_id, live=True)
        return await self.answering.create(request, exchange, caller, chat, order, jobs=True)

    async def fetch(self, request: Request, exchange: Exchange, run_id: str) -> HTTPResponse | None:
        caller = await self._somebody(request, exchange)
        return await self.answering.fetch(request, exchange, run_id, caller.tenant.id, caller.user)

    async def cancel(self, request: Request, exchange: Exchange, run_id: str) -> HTTPResponse:
        caller = await self._somebody(request, exchange)
        return await self.answering.cancel(request, exchange, run_id, caller.tenant.id, caller.user)

    async def models(self, request: Request, exchange: Exchange) -> HTTPResponse:
        return list_models(exchange, self.planner, await self._somebody(request, exchange))

    async def model(self, request: Request, exchange: Exchange, name: str) -> HTTPResponse:
        return show_model(exchange, self.planner, await self._somebody(request, exchange), name)

    async def _is_too_much_for_nobody(self, request: Request) -> bool:
        """Whether nobody vouches for a large body. Its group, which says whether anybody has to, is inside of it."""
        return is_large(request) and await principal_if_any(request, self.verifier) is None

    async def _somebody(self, request: Request, exchange: Exchange) -> Caller:
        """The caller of a request that has no body to name a group: the token's user, else nobody in particular."""
        tenant = await self.callers.tenant(request.headers.get("x-tenant-id"))
        exchange.serves(tenant)
        return self.callers.by_token(tenant, await principal_if_any(request, self.verifier))
