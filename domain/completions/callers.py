"""Who is calling, surface by surface: tenant, group and user, from path, headers, body and bearer token."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from domain.errors import InvalidRequest, TenantForbidden, UnknownNamespace, UnknownTenant
from domain.ids import is_id
from domain.ports import Entropy, TenantStore
from domain.tenants import (
    ANONYMOUS,
    Caller,
    Principal,
    Tenant,
    TenantId,
    group_of,
    only_tenant,
    require_group,
    require_member,
)

#: Verifies the request's bearer token, when a rule first needs to know.
Authenticate: TypeAlias = Callable[[], Awaitable[Principal]]


@dataclass(frozen=True, slots=True)
class Callers:
    """The rules of identity; each raises what ``domain.errors`` has for 401, 403 and 404."""

    tenants: TenantStore
    entropy: Entropy

    async def tenant(self, tenant_id: TenantId | None) -> Tenant:
        """The tenant that the group surface's header names.

        Raises:
            InvalidRequest: no header.
            UnknownTenant: there is no such tenant.
        """
        if not tenant_id:
            raise InvalidRequest("Missing required header: 'X-Tenant-Id'.", code="missing_tenant_id")
        tenant = await self.tenants.get(tenant_id) if is_id(tenant_id) else None
        if tenant is None:
            raise UnknownTenant
        return tenant

    async def in_group(self, tenant: Tenant, group_id: object, authenticate: Authenticate) -> Caller:
        """The caller on the group surface: nobody in particular in group ``anonymous``, else the token's user.

        A group that the tenant does not have asks for no token: that it is wrong is said in its place among the checks.
        """
        if not isinstance(group_id, str) or group_id == ANONYMOUS or group_id not in tenant.groups:
            return Caller(tenant, group_id if isinstance(group_id, str) else None, self._nobody())
        principal = await authenticate()
        require_member(principal, tenant.id)
        require_group(principal, tenant, group_id)
        return Caller(tenant, group_id, principal.user)

    async def in_tenant(self, tenant_id: TenantId, authenticate: Authenticate) -> Caller:
        """The caller on the tenant surface.

        Raises:
            NotAuthenticated, UnknownNamespace, TenantForbidden: in this order.
        """
        principal = await authenticate()
        tenant = await self.tenants.get(tenant_id) if is_id(tenant_id) else None
        if tenant is None:
            raise UnknownNamespace
        require_member(principal, tenant.id)
        return Caller(tenant, group_of(principal, tenant), principal.user)

    async def at_provider(self, provider_id: str, named: TenantId | None, authenticate: Authenticate) -> Caller:
        """The caller on the provider surface, whose tenant is the token's; ``named`` picks one of several.

        Raises:
            NotAuthenticated, TenantForbidden: in this order.
        """
        principal = await authenticate()
        tenant = await self.tenants.get(only_tenant(principal, named))
        if tenant is None:
            # The token is good and names a tenant that is not here (any more): nothing it could pay with.
            raise TenantForbidden
        return Caller(tenant, group_of(principal, tenant), principal.user, provider=provider_id)

    def by_token(self, tenant: Tenant, principal: Principal | None) -> Caller:
        """The caller on the group surface where no group is named: a member by their token, else nobody."""
        if principal is None or tenant.id not in principal.tenants:
            return Caller(tenant, ANONYMOUS, self._nobody())
        return Caller(tenant, group_of(principal, tenant), principal.user)

    def _nobody(self) -> str:
        return f"{ANONYMOUS}-{uuid.UUID(bytes=self.entropy(16), version=4)}"
