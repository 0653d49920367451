"""A Redis for all tests of this folder, empty at the beginning of each, and the command line before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests.cli.shell import SECRET, Shell
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.command("FLUSHALL")
    return server


@pytest.fixture
def shell(redis: RedisServer, tmp_path: Path) -> Iterator[Shell]:
    # A busy machine is not to be taken for an outage.
    environment = {"SLUICE_REDIS_URL": redis.url, "SLUICE_REDIS_SECONDS": "2", "SLUICE_JWT_SECRET": SECRET}
    yield Shell(tmp_path, environment)
    logger.remove()
