"""Tenants' configurations in Redis: one JSON document each, read at most every few seconds.

An operator writes documents with SET, so nobody tells us of a change: what was read is believed for a short time.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from adapters.documents import flaws_of
from adapters.reading import Reading
from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.recent import Recent
from adapters.redis.scripts import script
from adapters.vault import UNLOCKED, Unsealable, Vault
from domain.administration.documents import Flaw, version_of
from domain.administration.errors import VersionChanged
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.ids import is_id
from domain.ports import Resealed, Stored
from domain.tenants import Limits, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class _Read:
    """A document, and its tenant; without one it cannot be read."""

    document: bytes
    tenant: Tenant | None


class RedisTenantStore:
    """Tenants behind a small memory of what was read last; ``memory`` is how that is bounded, as in ``Recent``."""

    def __init__(
        self,
        connection: RedisConnection,
        *,
        defaults: Limits,
        monotonic: Callable[[], float],
        vault: Vault = UNLOCKED,
        **memory: Any,
    ) -> None:
        self._connection = connection
        self._reading = Reading(defaults, vault)
        self._recent: Recent[_Read] = Recent(self._read, monotonic, **memory)

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        read = await self._recent.get(tenant_id) if is_id(tenant_id) else None
        if read is None:
            return None
        if read.tenant is None:
            raise TenantMisconfigured
        return read.tenant

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        read = _Read(*self._reading.written(tenant_id, document))
        await self._connection.command("SET", keys.tenant(tenant_id), read.document)
        self._recent.put(tenant_id, read)

    # --- for who changes them -------------------------------------------------------------------------------------

    async def ids(self) -> AsyncGenerator[TenantId, None]:
        async with aclosing(self._connection.scan(keys.tenants())) as found:
            async for key in found:
                tenant_id = key.partition(":")[2]
                if is_id(tenant_id):
                    yield tenant_id

    async def read(self, tenant_id: TenantId) -> Stored | None:
        written = await self._connection.command("GET", keys.tenant(tenant_id))
        return self._stored(tenant_id, written) if written is not None else None

    async def replace(self, tenant_id: TenantId, document: JsonObject | None, version: str | None) -> Stored:
        read = _Read(*self._reading.written(tenant_id, document)) if document is not None else None
        present = await self._connection.command("GET", keys.tenant(tenant_id))
        if version != (version_of(present) if present is not None else None):
            raise VersionChanged
        await self._swap(tenant_id, present, read)
        return self._stored(tenant_id, read.document) if read is not None else Stored(tenant_id, None, "")

    async def reseal(self, tenant_id: TenantId) -> Resealed:
        present = await self._connection.command("GET", keys.tenant(tenant_id))
        if present is None:
            return Resealed.GONE
        try:
            written = self._reading.resealed(tenant_id, present)
        except (Unsealable, TenantMisconfigured):
            return Resealed.UNREADABLE
        if written is None:
            return Resealed.CURRENT
        await self._swap(tenant_id, present, self._parsed(tenant_id, written))
        return Resealed.SEALED

    def flaws(self, document: JsonObject) -> Sequence[Flaw]:
        return flaws_of(document)

    async def _swap(self, tenant_id: TenantId, present: bytes | None, read: _Read | None) -> None:
        words: list[Word] = [int(present is not None), present or b""]
        words += [int(read is not None), read.document if read is not None else b""]
        if not await self._connection.run(script("tenants/swap"), [keys.tenant(tenant_id)], words):
            raise VersionChanged
        self._recent.put(tenant_id, read)

    def _stored(self, tenant_id: TenantId, written: bytes) -> Stored:
        return Stored(tenant_id, self._reading.shown(tenant_id, written), version_of(written))

    async def aclose(self) -> None:
        """Wait for the reads under way."""
        await self._recent.aclose()

    async def _read(self, tenant_id: TenantId, last: _Read | None) -> _Read | None:
        document = await self._connection.command("GET", keys.tenant(tenant_id))
        if document is None:
            return None
        # What has not changed is not parsed again.
        return last if last is not None and last.document == document else self._parsed(tenant_id, document)

    def _parsed(self, tenant_id: TenantId, document: bytes) -> _Read:
        try:
            return _Read(document, self._reading.tenant(tenant_id, document))
        except TenantMisconfigured:
            return _Read(document, None)
