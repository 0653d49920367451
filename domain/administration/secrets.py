"""Rotation of the keys that seal secrets, while everything goes on."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

from domain.administration.errors import VersionChanged
from domain.ports import Resealed, TenantDocuments
from domain.tenants import TenantId

#: How often a document is tried that others write at the same time.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation found, by what became of each tenant; ``unreadable`` are those whose secrets nobody can open."""

    counts: Mapping[Resealed, int]
    unreadable: tuple[TenantId, ...]


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """Seals the secrets of all tenants with the active key.

    It can be broken off and run again at any time, and by several at once: each document is changed as a whole, and
    only if nobody else has changed it meanwhile.
    """

    documents: TenantDocuments

    async def rotate(self, step: Callable[[], None] = lambda: None) -> Rotation:
        """Seal what is not sealed with the active key, or not at all; ``step`` is called after each tenant.

        Raises:
            VersionChanged: others keep on writing one of the documents.
            StoreUnavailable: the store did not answer; what was sealed stays so.
        """
        outcomes: dict[TenantId, Resealed] = {}
        async with aclosing(self.documents.ids()) as ids:
            async for tenant_id in ids:
                if tenant_id not in outcomes:
                    outcomes[tenant_id] = await self._reseal(tenant_id)
                    step()
        unreadable = sorted(each for each, outcome in outcomes.items() if outcome is Resealed.UNREADABLE)
        return Rotation(Counter(outcomes.values()), tuple(unreadable))

    async def _reseal(self, tenant_id: TenantId) -> Resealed:
        for _ in range(_ATTEMPTS - 1):
            with suppress(VersionChanged):
                return await self.documents.reseal(tenant_id)
        return await self.documents.reseal(tenant_id)
