"""API keys on several replicas: one that is revoked is refused by all of them within five seconds."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.redis.apikeys import RedisApiKeyStore
from adapters.redis.tenants import RedisTenantStore
from domain.credentials import ApiKeys, KeyGrant
from domain.tenants import Limits
from tests.contracts.backends import connected
from tests.e2e.conftest import TENANT, Figure, Start
from tests.fakes import SeededEntropy
from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

#: The promise.
REVOKED_WITHIN = 5.0


@pytest.fixture
async def api_keys(redis: RedisServer) -> AsyncIterator[ApiKeys]:
    """The keys as somebody administers them who is no replica."""
    async with connected(redis.url) as connection:
        tenants = RedisTenantStore(connection, defaults=Limits(), monotonic=time.monotonic)
        store = RedisApiKeyStore(connection, monotonic=time.monotonic)
        yield ApiKeys(store, tenants, time.time, SeededEntropy(int(time.time())))


async def models(gateway: GatewayProcess, key: str) -> int:
    async with httpx.AsyncClient(timeout=20) as client:
        headers = {"Authorization": f"Bearer {key}"}
        return (await client.get(f"{gateway.origin}/{TENANT}/v1/models", headers=headers)).status_code


async def test_a_key_that_is_revoked_is_refused_by_every_replica_in_time(
    start: Start, api_keys: ApiKeys, figure: Figure
) -> None:
    replicas = [await asyncio.to_thread(start) for _ in range(2)]
    key, secret = await api_keys.issue(KeyGrant(TENANT, "staff", "u1", "a test"))
    assert [await models(replica, secret) for replica in replicas] == [200, 200]

    await api_keys.revoke(TENANT, key.id)
    revoked = time.monotonic()
    while set(answers := [await models(replica, secret) for replica in replicas]) != {401}:
        assert set(answers) <= {200, 401}
        assert time.monotonic() < revoked + REVOKED_WITHIN
        await asyncio.sleep(0.05)

    figure(f"revoked everywhere after {time.monotonic() - revoked:.1f} s")


async def test_a_key_just_used_and_any_token_are_good_while_redis_is_away(
    start: Start, api_keys: ApiKeys, redis: RedisServer
) -> None:
    replica = await asyncio.to_thread(start)
    _, known = await api_keys.issue(KeyGrant(TENANT, "staff", "u1", "a test"))
    _, unknown = await api_keys.issue(KeyGrant(TENANT, "staff", "u1", "a test"))
    assert await models(replica, known) == 200

    redis.freeze()
    try:
        answers = [await models(replica, key) for key in (known, unknown)]
    finally:
        redis.thaw()

    assert answers == [200, 503]
