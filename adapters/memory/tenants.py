"""Tenants' configurations, in this process."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from adapters.documents import flaws_of, write_document
from adapters.reading import Reading
from adapters.vault import UNLOCKED, Unsealable, Vault
from domain.administration.documents import Flaw, version_of
from domain.administration.errors import VersionChanged
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.ports import Resealed, Stored
from domain.tenants import Limits, Tenant, TenantId


class MemoryTenantStore:
    """Tenants from documents that are given at the start or written later."""

    def __init__(
        self,
        documents: Mapping[TenantId, JsonObject] | None = None,
        *,
        defaults: Limits,
        vault: Vault = UNLOCKED,
    ) -> None:
        self._documents = {tenant_id: write_document(document) for tenant_id, document in (documents or {}).items()}
        self._reading = Reading(defaults, vault)
        self._parsed: dict[TenantId, Tenant] = {}

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        document = self._documents.get(tenant_id)
        if document is None:
            return None
        if tenant_id not in self._parsed:
            self._parsed[tenant_id] = self._reading.tenant(tenant_id, document)
        return self._parsed[tenant_id]

    async def ids(self) -> AsyncGenerator[TenantId, None]:
        for tenant_id in tuple(self._documents):
            yield tenant_id

    async def read(self, tenant_id: TenantId) -> Stored | None:
        written = self._documents.get(tenant_id)
        return self._stored(tenant_id, written) if written is not None else None

    async def replace(self, tenant_id: TenantId, document: JsonObject | None, version: str | None) -> Stored:
        present = self._documents.get(tenant_id)
        if version != (version_of(present) if present is not None else None):
            raise VersionChanged
        if document is None:
            self._documents.pop(tenant_id, None)
            self._parsed.pop(tenant_id, None)
            return Stored(tenant_id, None, "")
        await self.put(tenant_id, document)
        return self._stored(tenant_id, self._documents[tenant_id])

    async def reseal(self, tenant_id: TenantId) -> Resealed:
        present = self._documents.get(tenant_id)
        if present is None:
            return Resealed.GONE
        try:
            written = self._reading.resealed(tenant_id, present)
        except (Unsealable, TenantMisconfigured):
            return Resealed.UNREADABLE
        self._documents[tenant_id] = written or present
        return Resealed.CURRENT if written is None else Resealed.SEALED

    def flaws(self, document: JsonObject) -> Sequence[Flaw]:
        return flaws_of(document)

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        self._documents[tenant_id], self._parsed[tenant_id] = self._reading.written(tenant_id, document)

    def _stored(self, tenant_id: TenantId, written: bytes) -> Stored:
        return Stored(tenant_id, self._reading.shown(tenant_id, written), version_of(written))
