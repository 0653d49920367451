"""API keys of a tenant: made, shown once, listed by their beginnings, revoked."""

from dataclasses import dataclass
from typing import Any

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.keys import KeyAdministration
from domain.chat import JsonObject
from domain.credentials import KeyGrant
from domain.errors import InvalidRequest
from domain.keys import ApiKey
from entrypoints.http.admin.routes import Ask, Route

_OPTIONAL = {"name": str, "expires": int, "scopes": list}


@dataclass(frozen=True, slots=True)
class Keys:
    """Handlers of ``/tenants/{tenant_id}/keys``."""

    keys: KeyAdministration

    def routes(self) -> tuple[Route, ...]:
        all_ = "/tenants/{tenant_id}/keys"
        return (
            Route("GET", all_, Access.READ_OWN, self.list, "A tenant's API keys, by their beginnings."),
            Route("POST", all_, Access.CHANGE_OWN, self.create, "Make a key; the answer alone has it whole."),
            Route("DELETE", all_ + "/{key_id}", Access.CHANGE_OWN, self.revoke, "Put an end to a key."),
        )

    async def list(self, ask: Ask) -> HTTPResponse:
        ask.query()
        return ask.answer({"data": [_shown(key) for key in await self.keys.list(ask.parts["tenant_id"])]})

    async def create(self, ask: Ask) -> HTTPResponse:
        given = ask.fields({"group": str, "user": str}, _OPTIONAL)
        scopes: list[Any] = given.get("scopes", [])
        if not all(isinstance(scope, str) for scope in scopes):
            raise InvalidRequest("'scopes' must be texts.", param="scopes", code="invalid_type")
        grant = KeyGrant(
            ask.parts["tenant_id"],
            given["group"],
            given["user"],
            given.get("name", "made by the admin API"),
            given.get("expires"),
            frozenset(scopes),
        )
        key, secret = await self.keys.issue(ask.operator, grant)
        return ask.answer({**_shown(key), "key": secret}, status=201)

    async def revoke(self, ask: Ask) -> HTTPResponse:
        await self.keys.revoke(ask.operator, ask.parts["tenant_id"], ask.parts["key_id"])
        return ask.done()


def _shown(key: ApiKey) -> JsonObject:
    return {
        "id": key.id,
        "start": key.start,
        "tenant": key.tenant,
        "group": key.group,
        "user": key.user,
        "name": key.name,
        "created": key.created,
        "expires": key.expires,
        "scopes": sorted(key.scopes),
    }
