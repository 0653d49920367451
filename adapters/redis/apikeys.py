"""API keys in Redis: each under its digest, and for each tenant which there are."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import orjson
from pydantic import TypeAdapter

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.pipe import Word
from adapters.redis.recent import Recent
from adapters.redis.records import paired
from adapters.redis.scripts import now, script
from domain.keys import ApiKey
from domain.ports import Clock
from domain.tenants import TenantId

#: Seconds for which a key that has expired can be seen still.
KEPT_EXPIRED = 30 * 86_400
#: Seconds after which the use of a key is noted again.
NOTED = 60
#: So many keys are read at the same time.
_AT_ONCE = 32
#: Seconds after which what is listed and is nowhere is not a key that is just being added.
_ADDING = 60
_KEY = TypeAdapter(ApiKey)


class RedisApiKeyStore:
    """API keys behind a small memory of what was read last, by the server's clock; a test may give another one."""

    def __init__(
        self, connection: RedisConnection, *, monotonic: Callable[[], float], clock: Clock | None = None
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._recent: Recent[ApiKey] = Recent(self._read, monotonic)

    async def add(self, key: ApiKey) -> None:
        # Listed first: a key that is good and in no list could not be revoked.
        listed = f"{key.digest}:{key.created}"
        await self._connection.command("HSET", keys.api_keys(key.tenant), key.id, listed)
        known = {field.name: getattr(key, field.name) for field in fields(key) if field.name != "used"}
        until = "" if key.expires is None else (key.expires + KEPT_EXPIRED) * 1000
        words = [orjson.dumps({**known, "scopes": sorted(key.scopes)}), until]
        await self._connection.run(script("apikeys/add"), [keys.api_key(key.digest)], words)
        self._recent.put(key.digest, key)

    async def find(self, digest: str) -> ApiKey | None:
        return await self._recent.get(digest)

    async def of_tenant(self, tenant: TenantId) -> Sequence[ApiKey]:
        listed = await self._connection.command("HGETALL", keys.api_keys(tenant))
        entries = [(key_id.decode(), value.decode().partition(":")) for key_id, value in paired(listed).items()]
        turns = asyncio.Semaphore(_AT_ONCE)
        found = await asyncio.gather(*(self._known(digest, turns) for _, (digest, _, _) in entries))
        long_ago = (self._clock or time.time)() - _ADDING
        missing = [entry for entry, key in zip(entries, found, strict=True) if key is None]
        if lapsed := [key_id for key_id, (_, _, created) in missing if int(created) < long_ago]:
            await self._connection.command("HDEL", keys.api_keys(tenant), *lapsed)
        return [key for key in found if key is not None]

    async def remove(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        listed = await self._connection.command("HGET", keys.api_keys(tenant), keys.require_id(key_id))
        if listed is None:
            return None
        digest = listed.decode().partition(":")[0]
        key = await self._known(digest, asyncio.Semaphore())
        # Taken from the list last: whatever fails before that can be asked for again.
        await self._connection.command("DEL", keys.api_key(digest))
        self._recent.put(digest, None)
        await self._connection.command("HDEL", keys.api_keys(tenant), key_id)
        return key

    async def aclose(self) -> None:
        """Wait for the reads under way."""
        await self._recent.aclose()

    async def _read(self, digest: str, _: ApiKey | None) -> ApiKey | None:
        words: list[Word] = [now(self._clock), NOTED]
        known, used = await self._connection.run(script("apikeys/find"), [keys.api_key(digest)], words)
        return _key(known, used)

    async def _known(self, digest: str, turns: asyncio.Semaphore) -> ApiKey | None:
        async with turns:
            known, used = await self._connection.command("HMGET", keys.api_key(digest), "known", "used")
        return _key(known, used)


def _key(known: bytes | None, used: bytes | None) -> ApiKey | None:
    if known is None:
        return None
    return replace(_KEY.validate_json(known), used=int(used) if used else None)
