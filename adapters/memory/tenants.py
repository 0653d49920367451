"""Tenants' configurations, in this process."""

from collections.abc import Mapping

from adapters.documents import parse_tenant, write_document
from domain.chat import JsonObject
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

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        written = write_document(document)
        self._parsed[tenant_id] = parse_tenant(tenant_id, written, self._defaults)
        self._documents[tenant_id] = written
