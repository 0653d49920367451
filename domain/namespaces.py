"""One namespace for two kinds of id: ``/{provider}/v1/...`` and ``/{tenant_id}/v1/...`` are the same path."""

import asyncio
from dataclasses import dataclass, field

from domain.errors import StoreUnavailable, TenantMisconfigured
from domain.ports import TenantStore
from domain.providers import ProviderRegistry


class NamespaceTaken(RuntimeError):
    """Providers are registered under the ids of tenants that exist: their paths would answer for somebody else."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__(f"registered as a provider, but a tenant has this id already: {', '.join(ids)}")
        self.ids = ids


@dataclass(slots=True)
class Namespaces:
    """Sees to it that no provider stands in a tenant's place; ready once that is known."""

    tenants: TenantStore
    registry: ProviderRegistry
    _clear: bool = field(default=False)

    @property
    def name(self) -> str:
        return "registry"

    async def require_clear(self) -> bool:
        """Raise NamespaceTaken where a provider's id is a tenant's; whether it is known that none is.

        A store that is away keeps nothing from starting: ``check`` asks again until it is known.
        """
        try:
            found = await asyncio.gather(*(self._is_tenant(spec.id) for spec in self.registry))
        except StoreUnavailable:
            return False
        taken = [spec.id for spec, exists in zip(self.registry, found, strict=True) if exists]
        if taken:
            raise NamespaceTaken(taken)
        self._clear = True
        return True

    async def check(self) -> str | None:
        """None once the ids are known to be free, else why they are not."""
        if self._clear:
            return None
        try:
            known = await self.require_clear()
        except NamespaceTaken as error:
            return str(error)
        return None if known else "not yet compared with the tenants"

    async def flaw(self) -> str | None:
        """That a provider stands in a tenant's place, if it is known."""
        try:
            await self.require_clear()
        except NamespaceTaken as error:
            return str(error)
        return None

    async def _is_tenant(self, provider_id: str) -> bool:
        try:
            return await self.tenants.get(provider_id) is not None
        except TenantMisconfigured:
            return True
