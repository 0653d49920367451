"""``/{tenant_id}/v1/...``: the tenant in the path, the user in the token, conversations for ids."""

from dataclasses import dataclass

from sanic import HTTPResponse, Request

from domain.completions.callers import Callers
from domain.completions.orders import Order
from domain.ids import is_id
from domain.ports import TokenVerifier
from domain.providers import Planner
from domain.runs import conversation_after
from domain.tenants import Caller
from entrypoints.http.answering import Answering
from entrypoints.http.auth import authentication
from entrypoints.http.cors import cors_headers
from entrypoints.http.draft import read_draft
from entrypoints.http.errors import Dialect, Manners
from entrypoints.http.exchange import Exchange
from entrypoints.http.models import list_models, show_model
from entrypoints.http.parsing import Fields

MANNERS = Manners(Dialect.OPENAI, quota_dialect=Dialect.PLAIN)
FIELDS = Fields(gateway=True, required=("messages",))


@dataclass(frozen=True, slots=True)
class TenantSurface:
    """The surface of seed 001."""

    callers: Callers
    verifier: TokenVerifier
    planner: Planner
    answering: Answering

    async def create(self, request: Request, exchange: Exchange, scope: str) -> HTTPResponse | None:
        caller = await self._caller(request, exchange, scope)
        draft = await read_draft(request)
        given = draft.peek("conversation_id")
        conversation = given if isinstance(given, str) and is_id(given) else None
        run_id = self.answering.runs.announce(caller, "chatcmpl", conversation)
        chat = draft.parse(FIELDS)
        order = Order(
            run_id,
            exchange.request_id,
            live=chat.stream,
            answer_id=chat.conversation or conversation_after(run_id),
            conversation=chat.conversation,
        )
        return await self.answering.create(request, exchange, caller, chat, order)

    async def fetch(self, request: Request, exchange: Exchange, scope: str, run_id: str) -> HTTPResponse | None:
        caller = await self._caller(request, exchange, scope)
        return await self.answering.fetch(request, exchange, run_id, caller.tenant.id, caller.user)

    async def cancel(self, request: Request, exchange: Exchange, scope: str, run_id: str) -> HTTPResponse:
        caller = await self._caller(request, exchange, scope)
        return await self.answering.cancel(request, exchange, run_id, caller.tenant.id, caller.user)

    async def models(self, request: Request, exchange: Exchange, scope: str) -> HTTPResponse:
        return list_models(exchange, self.planner, await self._caller(request, exchange, scope))

    async def model(self, request: Request, exchange: Exchange, scope: str, name: str) -> HTTPResponse:
        return show_model(exchange, self.planner, await self._caller(request, exchange, scope), name)

    async def _caller(self, request: Request, exchange: Exchange, scope: str) -> Caller:
        if exchange.origin is not None:
            await self._show_refusals_to_pages(exchange, scope)
        caller = await self.callers.in_tenant(scope, authentication(request, self.verifier))
        exchange.serves(caller.tenant)
        return caller

    async def _show_refusals_to_pages(self, exchange: Exchange, scope: str) -> None:
        """Let the tenant's own pages see why they are refused. Whose path it is says nothing of who is calling."""
        tenant = await self.callers.tenants.get(scope) if is_id(scope) else None
        if tenant is not None:
            exchange.cors = cors_headers(exchange.origin, tenant)
