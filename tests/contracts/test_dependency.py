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
