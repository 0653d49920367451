"""Dependency: Redis says whether it can be used, and nothing about itself."""

import pytest

from adapters.redis.connection import RedisConnection
from adapters.redis.dependency import RedisDependency
from domain.ports import Dependency
from tests.contracts.backends import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["redis", "cluster"], indirect=True)]


async def test_a_redis_that_answers_is_ready(connection: RedisConnection) -> None:
    dependency: Dependency = RedisDependency(connection)

    reason = await dependency.check()

    assert (dependency.name, reason) == ("redis", None)


async def test_a_redis_that_does_not_answer_is_the_reason(brisk: RedisConnection, backend: Backend) -> None:
    dependency = RedisDependency(brisk)

    with backend.frozen():
        reason = await dependency.check()

    assert reason == "does not answer"


async def test_a_redis_that_may_evict_balances_is_not_fit_to_start_with(
    connection: RedisConnection, backend: Backend
) -> None:
    with backend.configured("maxmemory", "100mb"), backend.configured("maxmemory-policy", "allkeys-lru"):
        dependency = RedisDependency(connection)
        reasons = [await dependency.flaw(), await dependency.check()]

    assert reasons == ["maxmemory-policy is allkeys-lru and may evict balances; it has to be noeviction"] * 2
    assert await dependency.flaw() is None


async def test_a_redis_that_never_runs_full_may_have_any_policy(connection: RedisConnection, backend: Backend) -> None:
    with backend.configured("maxmemory-policy", "allkeys-lru"):
        assert await RedisDependency(connection).flaw() is None


async def test_a_redis_that_does_not_answer_keeps_nobody_from_starting(
    brisk: RedisConnection, backend: Backend
) -> None:
    with backend.frozen():
        assert await RedisDependency(brisk).flaw() is None
