"""What seals the secrets of tenants' documents, as both kinds of store need it."""

from typing import Protocol

from adapters.documents import DATA_KEY
from domain.chat import JsonObject
from domain.tenants import TenantId


class Unsealable(Exception):
    """Why secrets cannot be opened: ``unknown_key``, or ``damaged``, which being another tenant's is, too."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Vault(Protocol):
    """Seals the secrets of documents, and opens them."""

    def seal(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        """The document with all its secrets sealed; what is sealed already stays as it is.

        Raises:
            Unsealable: its data key cannot be opened.
        """
        ...

    def open(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        """The document with all its secrets in the clear, and without what else the vault has put there.

        Raises:
            Unsealable: one cannot be opened.
        """
        ...

    def is_current(self, document: JsonObject) -> bool:
        """Whether sealing it anew would be of no use."""
        ...


class Unlocked:
    """The vault of who has no key: seals nothing, and takes nothing that is sealed for a secret."""

    def seal(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        return document

    def open(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        if DATA_KEY in document:
            raise Unsealable("unknown_key")
        return document

    def is_current(self, document: JsonObject) -> bool:
        return True


UNLOCKED = Unlocked()
