"""Whoever may ask something of the admin API, or may not, and what they send."""

from dataclasses import dataclass
from typing import Any

import httpx

from domain.scopes import ADMIN, ADMIN_READ, TENANT_ADMIN
from tests.http.replica import Replica


@dataclass(frozen=True, slots=True)
class Admin:
    """Somebody with these scopes, in this tenant where one is named; without scopes an ordinary member."""

    replica: Replica
    scopes: tuple[str, ...] = (ADMIN,)
    tenants: tuple[str, ...] = ()

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Ask for ``path`` below the prefix; an underscore in a header's name is a hyphen."""
        token = self.replica.token(*self.tenants, user="olga", group=None, scopes=self.scopes)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent: dict[str, Any] = {} if body is None else {"json": body}
        head = {"Authorization": f"Bearer {token}", **named}
        return await self.replica.admin.request(method, f"/admin/v1{path}", headers=head, **sent)

    async def create(self, tenant_id: str, **document: Any) -> str:
        """Make a tenant; its entity tag."""
        created = await self.ask("POST", "/tenants", {"id": tenant_id, **document})
        assert created.status_code == 201, created.text
        return created.headers["etag"]


def everybody(replica: Replica, tenant: str) -> dict[str, Admin]:
    """Who asks in the table of access, by column."""
    return {
        "member": Admin(replica, (), (tenant,)),
        "reader": Admin(replica, (ADMIN_READ,)),
        "own": Admin(replica, (TENANT_ADMIN,), (tenant,)),
        "other": Admin(replica, (TENANT_ADMIN,), ("another",)),
        "admin": Admin(replica),
    }
