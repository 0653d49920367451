"""API keys as operators see them: each that is made or revoked is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.administration.access import Operator
from domain.credentials import ApiKeys, KeyGrant
from domain.errors import InsufficientScope
from domain.facts import Administered
from domain.keys import ApiKey
from domain.ports import Journal
from domain.scopes import ADMIN, ADMIN_READ
from domain.tenants import TenantId

#: Scopes that reach beyond a tenant.
_EVERYWHERE = frozenset({ADMIN, ADMIN_READ})


@dataclass(frozen=True, slots=True)
class KeyAdministration:
    """Issues, lists and revokes keys; raises what ``ApiKeys`` does."""

    keys: ApiKeys
    journal: Journal

    async def issue(self, by: Operator, grant: KeyGrant) -> tuple[ApiKey, str]:
        """A new key, and the key itself, which nobody can ever tell again.

        Raises:
            InsufficientScope: the key could do more than who makes it.
        """
        if not by.everywhere and not grant.scopes.isdisjoint(_EVERYWHERE):
            raise InsufficientScope(ADMIN)
        key, secret = await self.keys.issue(grant)
        self._tell(by, "key.create", key)
        return key, secret

    async def list(self, tenant: TenantId) -> Sequence[ApiKey]:
        """The keys of a tenant, the oldest first."""
        return await self.keys.list(tenant)

    async def revoke(self, by: Operator, tenant: TenantId, key_id: str) -> None:
        """Put an end to a key of this tenant."""
        self._tell(by, "key.revoke", await self.keys.revoke(tenant, key_id))

    def _tell(self, by: Operator, action: str, key: ApiKey) -> None:
        self.journal.record(Administered(by.name, action, key.tenant, key.id, request_id=by.request_id))
