"""What a replica stands in: time, tenants, who vouches for callers, the journal, whatever must answer."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from domain.chat import JsonObject
from domain.facts import Fact
from domain.keys import ApiKey
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


class ApiKeyStore(Protocol):
    """API keys by their digests; nothing here can tell a key itself.

    Keys that have expired are found and listed for 30 days more. Fails closed: no answer means no key.
    """

    async def add(self, key: ApiKey) -> None:
        """Keep a key; readers in this process find it at once.

        Raises:
            StoreUnavailable: the store did not answer; the key may be there.
        """
        ...

    async def find(self, digest: str) -> ApiKey | None:
        """The key of this digest, None where there is none; its ``used`` becomes now, give or take a minute.

        What is added is found within a second, what is removed is gone within 5, on every replica.

        Raises:
            StoreUnavailable: the store did not answer, and this key was not read in the last 5 seconds.
        """
        ...

    async def of_tenant(self, tenant: TenantId) -> Sequence[ApiKey]:
        """All keys of a tenant, in no order, as they are now.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def remove(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        """Remove a key of this tenant; readers in this process miss it at once. What it was, None for no such key.

        Raises:
            StoreUnavailable: the store did not answer. Asked again it ends what it began.
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
