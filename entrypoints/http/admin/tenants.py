"""Tenants and their groups: read with secrets masked, changed by merge patch with the version that was seen."""

from dataclasses import dataclass

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.documents import masked
from domain.administration.errors import UnknownGroup
from domain.administration.tenants import TenantAdministration, groups_of
from domain.chat import JsonObject
from domain.ports import Stored
from entrypoints.http.admin.routes import Ask, Route


@dataclass(frozen=True, slots=True)
class Tenants:
    """Handlers of ``/tenants``."""

    tenants: TenantAdministration

    def routes(self) -> tuple[Route, ...]:
        one, groups = "/tenants/{tenant_id}", "/tenants/{tenant_id}/groups"
        return (
            Route("GET", "/tenants", Access.READ, self.list, "All tenants' ids."),
            Route("POST", "/tenants", Access.CHANGE, self.create, "Create a tenant: its `id` and its document."),
            Route("GET", one, Access.READ_OWN, self.show, "A tenant's document, secrets masked."),
            Route("PATCH", one, Access.CHANGE, self.patch, "Change a tenant by JSON merge patch; needs `If-Match`."),
            Route("DELETE", one, Access.CHANGE, self.delete, "Delete a tenant; needs `If-Match`. Its balances stay."),
            Route(
                "DELETE",
                one + "/cache",
                Access.CHANGE,
                self.forget_answers,
                "Forget cached answers, of a `group` or all.",
            ),
            Route("GET", groups, Access.READ_OWN, self.list_groups, "A tenant's groups."),
            Route(
                "POST",
                groups,
                Access.CHANGE,
                self.create_group,
                "Add a group: its `id` and its fields. Needs `If-Match`.",
            ),
            Route("GET", groups + "/{group_id}", Access.READ_OWN, self.show_group, "One group."),
            Route(
                "PATCH",
                groups + "/{group_id}",
                Access.CHANGE,
                self.patch_group,
                "Change a group by JSON merge patch; needs `If-Match`.",
            ),
            Route(
                "DELETE",
                groups + "/{group_id}",
                Access.CHANGE,
                self.delete_group,
                "Take a group away; needs `If-Match`.",
            ),
        )

    async def list(self, ask: Ask) -> HTTPResponse:
        ask.query()
        return ask.answer({"data": [{"id": tenant_id} for tenant_id in await self.tenants.ids()]})

    async def create(self, ask: Ask) -> HTTPResponse:
        body = ask.body()
        tenant_id = str(body.pop("id", ""))
        stored = await self.tenants.create(ask.operator, tenant_id, body)
        return ask.answer(_shown(stored), status=201, version=stored.version)

    async def show(self, ask: Ask) -> HTTPResponse:
        stored = await self.tenants.show(ask.parts["tenant_id"])
        return ask.answer(_shown(stored), version=stored.version)

    async def patch(self, ask: Ask) -> HTTPResponse:
        stored = await self.tenants.patch(ask.operator, ask.parts["tenant_id"], ask.body(), ask.version())
        return ask.answer(_shown(stored), version=stored.version)

    async def delete(self, ask: Ask) -> HTTPResponse:
        await self.tenants.delete(ask.operator, ask.parts["tenant_id"], ask.version())
        return ask.done()

    async def forget_answers(self, ask: Ask) -> HTTPResponse:
        group = ask.query("group").get("group")
        await self.tenants.forget_answers(ask.operator, ask.parts["tenant_id"], group)
        return ask.done()

    # --- groups ---------------------------------------------------------------------------------------------------

    async def list_groups(self, ask: Ask) -> HTTPResponse:
        stored = await self.tenants.show(ask.parts["tenant_id"])
        data = [{"id": group_id, **group} for group_id, group in groups_of(stored).items()]
        return ask.answer({"data": data}, version=stored.version)

    async def create_group(self, ask: Ask) -> HTTPResponse:
        body = ask.body()
        group_id = str(body.pop("id", ""))
        stored = await self.tenants.create_group(ask.operator, ask.parts["tenant_id"], group_id, body, ask.version())
        return _answer_group(ask, stored, group_id, status=201)

    async def show_group(self, ask: Ask) -> HTTPResponse:
        return _answer_group(ask, await self.tenants.show(ask.parts["tenant_id"]), ask.parts["group_id"])

    async def patch_group(self, ask: Ask) -> HTTPResponse:
        tenant_id, group_id = ask.parts["tenant_id"], ask.parts["group_id"]
        stored = await self.tenants.patch_group(ask.operator, tenant_id, group_id, ask.body(), ask.version())
        return _answer_group(ask, stored, group_id)

    async def delete_group(self, ask: Ask) -> HTTPResponse:
        tenant_id, group_id = ask.parts["tenant_id"], ask.parts["group_id"]
        await self.tenants.delete_group(ask.operator, tenant_id, group_id, ask.version())
        return ask.done()


def _shown(stored: Stored) -> JsonObject:
    if stored.document is None:
        return {"id": stored.id, "readable": False}
    return {**masked(stored.document), "id": stored.id}


def _answer_group(ask: Ask, stored: Stored, group_id: str, *, status: int = 200) -> HTTPResponse:
    group = groups_of(stored).get(group_id)
    if group is None:
        raise UnknownGroup(group_id)
    return ask.answer({**group, "id": group_id}, status=status, version=stored.version)
