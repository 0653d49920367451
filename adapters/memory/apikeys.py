"""API keys, in this process."""

from collections.abc import Sequence
from dataclasses import replace

from adapters.memory.lapsing import Lapsing
from domain.keys import ApiKey
from domain.ports import Clock
from domain.tenants import TenantId

#: Seconds for which a key that has expired can be seen still.
KEPT_EXPIRED = 30 * 86_400
#: Seconds after which the use of a key is noted again.
NOTED = 60


class MemoryApiKeyStore:
    """API keys by digest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: Lapsing[str, ApiKey] = Lapsing(clock)

    async def add(self, key: ApiKey) -> None:
        self._put(replace(key, used=None))

    async def find(self, digest: str) -> ApiKey | None:
        key = self._keys.get(digest)
        if key is not None and (key.used is None or self._clock() - key.used >= NOTED):
            key = replace(key, used=int(self._clock()))
            self._put(key)
        return key

    async def of_tenant(self, tenant: TenantId) -> Sequence[ApiKey]:
        return [key for key in self._keys.values() if key.tenant == tenant]

    async def remove(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        for key in await self.of_tenant(tenant):
            if key.id == key_id:
                return self._keys.pop(key.digest)
        return None

    def _put(self, key: ApiKey) -> None:
        if key.expires is None:
            self._keys.put(key.digest, key)
        else:
            self._keys.put(key.digest, key, key.expires + KEPT_EXPIRED - self._clock())
