"""``/{provider}/v1/...``: OpenAI's API to the letter; the tenant is the token's."""

from dataclasses import dataclass

from sanic import HTTPResponse, Request

from domain.completions.callers import Callers
from domain.completions.orders import Order
from domain.ports import TokenVerifier
from domain.providers import Planner
from domain.tenants import Caller
from entrypoints.http.answering import Answering
from entrypoints.http.auth import authentication
from entrypoints.http.draft import read_draft
from entrypoints.http.errors import Dialect, Manners
from entrypoints.http.exchange import Exchange
from entrypoints.http.models import list_models, show_model
from entrypoints.http.parsing import Fields

MANNERS = Manners(Dialect.OPENAI, invalid_status=422, model_status=404)
FIELDS = Fields(gateway=False, required=("model", "messages"))


@dataclass(frozen=True, slots=True)
class ProviderSurface:
    """The surface of seed 002."""

    callers: Callers
    verifier: TokenVerifier
    planner: Planner
    answering: Answering

    async def create(self, request: Request, exchange: Exchange, scope: str) -> HTTPResponse | None:
        caller = await self._caller(request, exchange, scope)
        run_id = self.answering.runs.announce(caller, "chatcmpl")
        draft = await read_draft(request)
        chat = draft.parse(FIELDS)
        order = Order(run_id, exchange.request_id, live=chat.stream, extras=False)
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
        named = request.headers.get("x-tenant-id")
        caller = await self.callers.at_provider(scope, named, authentication(request, self.verifier))
        exchange.serves(caller.tenant)
        exchange.provider = scope
        return caller
