"""Balances: read, granted to, set, and what changed them."""

from dataclasses import asdict, dataclass

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.balances import Balance, BalanceAdministration
from domain.chat import JsonObject
from domain.errors import InvalidRequest
from domain.ids import is_id
from domain.ledger import Account, is_entry_id
from domain.tokens import MAX_TOKENS
from entrypoints.http.admin.routes import Ask, Route, whole_number

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Balances:
    """Handlers of ``/tenants/{tenant_id}/balances``."""

    balances: BalanceAdministration

    def routes(self) -> tuple[Route, ...]:
        all_, one = "/tenants/{tenant_id}/balances", "/tenants/{tenant_id}/balances/{group_id}/{user_id}"
        return (
            Route("GET", all_, Access.READ_OWN, self.list, "Balances of a tenant."),
            Route("GET", one, Access.READ_OWN, self.show, "One balance: what is available, in tokens."),
            Route("GET", one + "/history", Access.READ_OWN, self.history, "What changed it, newest first."),
            Route("POST", one + "/grant", Access.CHANGE, self.grant, "Add `amount` tokens; needs `Idempotency-Key`."),
            Route(
                "POST",
                one + "/adjust",
                Access.CHANGE,
                self.adjust,
                "Set it to `balance` tokens; needs `Idempotency-Key`.",
            ),
        )

    async def list(self, ask: Ask) -> HTTPResponse:
        limit = whole_number(ask.query("limit"), "limit", default=100, most=_MOST)
        found = await self.balances.of_tenant(ask.parts["tenant_id"], limit)
        return ask.answer({"data": [_shown(balance) for balance in found]})

    async def show(self, ask: Ask) -> HTTPResponse:
        ask.query()
        return ask.answer(_shown(await self.balances.show(_account(ask))))

    async def history(self, ask: Ask) -> HTTPResponse:
        given = ask.query("limit", "before")
        before = given.get("before")
        if before is not None and not is_entry_id(before):
            raise InvalidRequest("'before' is not the id of an entry.", param="before", code="invalid_value")
        limit = whole_number(given, "limit", default=50, most=_MOST)
        entries = await self.balances.history(_account(ask), before, limit)
        return ask.answer({"data": [{**asdict(entry), "kind": entry.kind.value} for entry in entries]})

    async def grant(self, ask: Ask) -> HTTPResponse:
        amount = ask.fields({"amount": int})["amount"]
        if not 1 <= amount <= MAX_TOKENS:
            raise InvalidRequest(f"'amount' must be 1 to {MAX_TOKENS}.", param="amount", code="invalid_value")
        return ask.answer(_shown(await self.balances.grant(ask.operator, _account(ask), ask.operation(), amount)))

    async def adjust(self, ask: Ask) -> HTTPResponse:
        balance = ask.fields({"balance": int})["balance"]
        if abs(balance) > MAX_TOKENS:
            raise InvalidRequest(f"'balance' must be within {MAX_TOKENS}.", param="balance", code="invalid_value")
        return ask.answer(_shown(await self.balances.adjust(ask.operator, _account(ask), ask.operation(), balance)))


def _account(ask: Ask) -> Account:
    user = ask.parts["user_id"]
    if not is_id(user):
        raise InvalidRequest("The user's id is none.", param="user_id", code="invalid_value")
    return Account(ask.parts["tenant_id"], ask.parts["group_id"], user)


def _shown(balance: Balance) -> JsonObject:
    return {**asdict(balance.account), "available": balance.available}
