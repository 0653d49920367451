"""What a replica stands in: time, tenants, who vouches for callers, the journal, whatever must answer."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from domain.chat import JsonObject
from domain.facts import Fact
from domain.tenants import Principal, Tenant, TenantId

#: Unix seconds.
Clock: TypeAlias = Callable[[], float]
#: So many bytes from the operating system's generator.
Entropy: TypeAlias = Callable[[int], bytes]


class TenantStore(Protocol):
    """Configurations of tenants, as documents in the form of the seeds (``docs/configuration.md``)."""

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        """The tenant, None where there is none. What was changed in the store is seen within 5 seconds.

        Raises:
            TenantMisconfigured: there is a document, but it cannot be read.
            StoreUnavailable: the store did not answer, and the tenant was not read in the last 5 seconds.
        """
        ...

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        """Write a tenant's document, whole; readers in this process see it at once.

        Raises:
            TenantMisconfigured: it could not be read back; nothing was changed.
            StoreUnavailable: the store did not answer.
        """
        ...


class TokenVerifier(Protocol):
    """Tells whom a bearer token speaks for."""

    async def verify(self, token: str) -> Principal:
        """The principal of a good token.

        Raises:
            NotAuthenticated: expired, forged, malformed, or of another issuer or audience.
            KeysUnavailable: it may be good, but the issuer's keys cannot be had.
        """
        ...


class Journal(Protocol):
    """Takes note of facts. Never raises and never waits."""

    def record(self, fact: Fact) -> None: ...


class Dependency(Protocol):
    """Something that must answer for this replica to be ready."""

    @property
    def name(self) -> str: ...

    async def check(self) -> str | None:
        """None where it answers, else the reason why not, in a few words that may be shown to anyone."""
        ...

    async def flaw(self) -> str | None:
        """Why no process should start with it, which no waiting mends; None where nothing is known against it."""
        ...
