"""What a process may open: as much as its system allows, whatever the shell that it was started from says."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import SECRET, GatewayProcess
from tests.nursery import Nursery
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

LOW = 256


@pytest.fixture
def restricted(nursery: Nursery) -> Iterator[Nursery]:
    """The nursery with a low soft limit, which its forks have from it."""
    pid = nursery.child.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (LOW, before[1]))
    yield nursery
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_low_soft_limit_is_raised_to_the_hard_one(
    restricted: Nursery, redis: RedisServer, tmp_path: Path, command: str
) -> None:
    settings = {"SLUICE_JWT_SECRET": SECRET, "SLUICE_REDIS_URL": redis.url}

    with GatewayProcess.start(tmp_path / "log", settings, command=command, nursery=restricted) as gateway:
        soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)

    assert soft == hard > LOW
