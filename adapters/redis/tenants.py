"""Tenants' configurations in Redis: one JSON document each, read at most every few seconds.

An operator writes documents with SET, so nobody tells us of a change: what was read is believed for a short time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from adapters.documents import flaws_of, parse_tenant, read_document, write_document
from adapters.redis import keys
from adapters.redis.connection import RedisConnection, Word
from adapters.redis.scripts import script
from domain.administration.documents import Flaw, version_of
from domain.administration.errors import VersionChanged
from domain.chat import JsonObject
from domain.errors import StoreUnavailable, TenantMisconfigured
from domain.ids import is_id
from domain.ports import Stored
from domain.tenants import Limits, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class _Read:
    """A document as it was when it was asked for, at ``at``: None where there was none.

    A document without a tenant is one that cannot be read.
    """

    document: bytes | None
    tenant: Tenant | None
    at: float


class RedisTenantStore:
    """Tenants behind a small memory of what was read last.

    Times are in seconds by ``monotonic``: a document is believed for ``fresh``, its absence for ``absent``, and while
    Redis does not answer for ``stale``. The ``size`` tenants asked for last are remembered.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        defaults: Limits,
        monotonic: Callable[[], float],
        fresh: float = 2.0,
        absent: float = 0.5,
        stale: float = 5.0,
        size: int = 10_000,
    ) -> None:
        self._connection = connection
        self._defaults = defaults
        self._monotonic = monotonic
        self._fresh = fresh
        self._absent = absent
        self._stale = stale
        self._size = size
        self._reads: OrderedDict[TenantId, _Read] = OrderedDict()
        self._flights: dict[TenantId, asyncio.Task[_Read | StoreUnavailable]] = {}

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        if not is_id(tenant_id):
            return None
        read = self._reads.get(tenant_id)
        if read is None or self._age(read) >= (self._absent if read.document is None else self._fresh):
            read = await self._refreshed(tenant_id)
        if read.tenant is None and read.document is not None:
            raise TenantMisconfigured
        return read.tenant

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        written = write_document(document)
        read = _Read(written, parse_tenant(tenant_id, written, self._defaults), self._monotonic())
        await self._connection.command("SET", keys.tenant(tenant_id), written)
        # A read that is under way may bring the document of before; later callers must not join it.
        self._flights.pop(tenant_id, None)
        self._remember(tenant_id, read)

    # --- for who changes them -------------------------------------------------------------------------------------

    async def ids(self) -> AsyncGenerator[TenantId, None]:
        async with aclosing(self._connection.scan(keys.tenants())) as found:
            async for key in found:
                tenant_id = key.partition(":")[2]
                if is_id(tenant_id):
                    yield tenant_id

    async def read(self, tenant_id: TenantId) -> Stored | None:
        written = await self._connection.command("GET", keys.tenant(tenant_id))
        return _stored(tenant_id, written) if written is not None else None

    async def replace(self, tenant_id: TenantId, document: JsonObject | None, version: str | None) -> Stored:
        written = write_document(document) if document is not None else None
        tenant = parse_tenant(tenant_id, written, self._defaults) if written is not None else None
        present = await self._connection.command("GET", keys.tenant(tenant_id))
        if version != (version_of(present) if present is not None else None):
            raise VersionChanged
        if not await self._swap(tenant_id, present, written):
            raise VersionChanged
        self._flights.pop(tenant_id, None)
        self._remember(tenant_id, _Read(written, tenant, self._monotonic()))
        return _stored(tenant_id, written) if written is not None else Stored(tenant_id, None, "")

    def flaws(self, document: JsonObject) -> Sequence[Flaw]:
        return flaws_of(document)

    async def _swap(self, tenant_id: TenantId, present: bytes | None, written: bytes | None) -> bool:
        words: list[Word] = [int(present is not None), present or b"", int(written is not None), written or b""]
        return bool(await self._connection.run(script("tenants/swap"), [keys.tenant(tenant_id)], words))

    async def aclose(self) -> None:
        """Wait for the reads under way."""
        await asyncio.gather(*self._flights.values())

    async def _refreshed(self, tenant_id: TenantId) -> _Read:
        """The document as it is now; as it was read last, if that is not long ago and Redis is away."""
        # However many ask, one task asks Redis, and who stops waiting for it takes nothing from the others.
        outcome = await asyncio.shield(self._flights.get(tenant_id) or self._take_off(tenant_id))
        if isinstance(outcome, _Read):
            return outcome
        last = self._reads.get(tenant_id)
        if last is None or self._age(last) >= self._stale:
            raise StoreUnavailable from outcome
        return last

    def _take_off(self, tenant_id: TenantId) -> "asyncio.Task[_Read | StoreUnavailable]":
        flight = self._flights[tenant_id] = asyncio.ensure_future(self._fly(tenant_id))
        return flight

    async def _fly(self, tenant_id: TenantId) -> _Read | StoreUnavailable:
        outcome = await self._read(tenant_id)
        # Where put() was faster, this is the document of before.
        if self._flights.get(tenant_id) is asyncio.current_task():
            del self._flights[tenant_id]
            if isinstance(outcome, _Read):
                self._remember(tenant_id, outcome)
        return outcome

    async def _read(self, tenant_id: TenantId) -> _Read | StoreUnavailable:
        asked_at = self._monotonic()
        try:
            document = await self._connection.command("GET", keys.tenant(tenant_id))
        except StoreUnavailable as error:
            return error
        last = self._reads.get(tenant_id)
        if last is not None and last.document == document:
            return replace(last, at=asked_at)
        return _Read(document, self._parsed(tenant_id, document), asked_at)

    def _parsed(self, tenant_id: TenantId, document: bytes | None) -> Tenant | None:
        try:
            return parse_tenant(tenant_id, document, self._defaults) if document is not None else None
        except TenantMisconfigured:
            return None

    def _remember(self, tenant_id: TenantId, read: _Read) -> None:
        self._reads[tenant_id] = read
        self._reads.move_to_end(tenant_id)
        if len(self._reads) > self._size:
            self._reads.popitem(last=False)

    def _age(self, read: _Read) -> float:
        return self._monotonic() - read.at


def _stored(tenant_id: TenantId, written: bytes) -> Stored:
    return Stored(tenant_id, read_document(written), version_of(written))
