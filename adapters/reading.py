"""Tenants' documents between what is stored, with secrets sealed, and what is used, with secrets in the clear."""

from dataclasses import dataclass

from adapters.documents import parse_tenant, read_document, write_document
from adapters.vault import Unsealable, Vault
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.tenants import Limits, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class Reading:
    """How a store reads and writes documents: what holds for limits that they do not mention, and what seals them."""

    defaults: Limits
    vault: Vault

    def tenant(self, tenant_id: TenantId, written: bytes) -> Tenant:
        """The tenant of what is stored.

        Raises:
            TenantMisconfigured: it is no document, or its secrets cannot be opened.
        """
        document = read_document(written)
        if document is None:
            raise TenantMisconfigured
        try:
            opened = self.vault.open(tenant_id, document)
        except Unsealable:
            raise TenantMisconfigured from None
        return parse_tenant(tenant_id, opened, self.defaults)

    def written(self, tenant_id: TenantId, document: JsonObject) -> tuple[bytes, Tenant]:
        """What is to be stored of a document, with its secrets sealed, and its tenant.

        Raises:
            TenantMisconfigured: it could not be read back.
        """
        # In the clear first: what is wrong with a key must show before it is shut away.
        parse_tenant(tenant_id, write_document(document), self.defaults)
        try:
            sealed = write_document(self.vault.seal(tenant_id, document))
        except Unsealable:
            raise TenantMisconfigured from None
        return sealed, self.tenant(tenant_id, sealed)

    def shown(self, tenant_id: TenantId, written: bytes) -> JsonObject | None:
        """The document with its secrets in the clear, or as it is stored where they cannot be opened."""
        document = read_document(written)
        if document is None:
            return None
        try:
            return self.vault.open(tenant_id, document)
        except Unsealable:
            return document

    def resealed(self, tenant_id: TenantId, written: bytes) -> bytes | None:
        """What is to be stored in its place so that its secrets are sealed with the active key; None where they are.

        Raises:
            Unsealable: they cannot be opened.
            TenantMisconfigured: it is no document.
        """
        document = read_document(written)
        if document is None:
            raise TenantMisconfigured
        self.vault.open(tenant_id, document)
        if self.vault.is_current(document):
            return None
        return write_document(self.vault.seal(tenant_id, document))
