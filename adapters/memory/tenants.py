"""Tenants' configurations, in this process."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from adapters.documents import flaws_of, parse_tenant, read_document, write_document
from domain.administration.documents import Flaw, version_of
from domain.administration.errors import VersionChanged
from domain.chat import JsonObject
from domain.ports import Stored
from domain.tenants import Limits, Tenant, TenantId


class MemoryTenantStore:
    """Tenants from documents that are given at the start or written later."""

    def __init__(self, documents: Mapping[TenantId, JsonObject] | None = None, *, defaults: Limits) -> None:
        self._documents = {tenant_id: write_document(document) for tenant_id, document in (documents or {}).items()}
        self._defaults = defaults
        self._parsed: dict[TenantId, Tenant] = {}

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        document = self._documents.get(tenant_id)
        if document is None:
            return None
        if tenant_id not in self._parsed:
            self._parsed[tenant_id] = parse_tenant(tenant_id, document, self._defaults)
        return self._parsed[tenant_id]

    async def ids(self) -> AsyncGenerator[TenantId, None]:
        for tenant_id in tuple(self._documents):
            yield tenant_id

    async def read(self, tenant_id: TenantId) -> Stored | None:
        written = self._documents.get(tenant_id)
        return Stored(tenant_id, read_document(written), version_of(written)) if written is not None else None

    async def replace(self, tenant_id: TenantId, document: JsonObject | None, version: str | None) -> Stored:
        present = self._documents.get(tenant_id)
        if version != (version_of(present) if present is not None else None):
            raise VersionChanged
        if document is None:
            self._documents.pop(tenant_id, None)
            self._parsed.pop(tenant_id, None)
            return Stored(tenant_id, None, "")
        await self.put(tenant_id, document)
        written = self._documents[tenant_id]
        return Stored(tenant_id, read_document(written), version_of(written))

    def flaws(self, document: JsonObject) -> Sequence[Flaw]:
        return flaws_of(document)

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        written = write_document(document)
        self._parsed[tenant_id] = parse_tenant(tenant_id, written, self._defaults)
        self._documents[tenant_id] = written
