"""What operators change: tenants' documents, with versions."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from domain.administration.documents import Flaw
from domain.chat import JsonObject
from domain.tenants import TenantId


@dataclass(frozen=True, slots=True)
class Stored:
    """A tenant's document as it is stored, and its version; the document is None where it is no JSON object."""

    id: TenantId
    document: JsonObject | None
    version: str


class Resealed(Enum):
    """What became of a document's secrets."""

    CURRENT = "current"
    """They were sealed with the active key already, or there are none."""
    SEALED = "sealed"
    UNREADABLE = "unreadable"
    """They cannot be opened, or the document cannot be read; nothing was changed."""
    GONE = "gone"
    """There is no such document (any more)."""


class TenantDocuments(Protocol):
    """The documents of TenantStore, for who changes them. Always read anew; versions are of what is stored, so that
    one that was written by hand has its own."""

    def ids(self) -> AsyncGenerator[TenantId, None]:
        """The ids of all tenants, in no order; some more than once.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def read(self, tenant_id: TenantId) -> Stored | None:
        """The tenant's document, None where there is none.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def replace(self, tenant_id: TenantId, document: JsonObject | None, version: str | None) -> Stored:
        """Write a document in the place of the one of this version; None stands for no document, on both sides.

        Atomic. Readers in this process see it at once, others within 5 seconds. Without a document, what is returned
        has none and no version.

        Raises:
            VersionChanged: what is stored is not of this version; nothing was changed.
            TenantMisconfigured: the document could not be read back; nothing was changed.
            StoreUnavailable: the store did not answer; it may or may not be written.
        """
        ...

    def flaws(self, document: JsonObject) -> Sequence[Flaw]:
        """What keeps a document from being read, and the keys that it has besides those that are known."""
        ...

    async def reseal(self, tenant_id: TenantId) -> Resealed:
        """Seal a document's secrets with the active key, those that stood there in the clear too; nothing else changes.

        Raises:
            VersionChanged: somebody else has written it meanwhile; nothing was changed.
            StoreUnavailable: the store did not answer; it may or may not be written.
        """
        ...
