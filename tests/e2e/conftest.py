"""A whole installation, as processes: gateways, a Redis, a scripted provider, a llama.cpp server."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from adapters.auth.mint import mint
from tests.gateway import SECRET, GatewayProcess
from tests.llama.process import LlamaProcess
from tests.nursery import Nursery
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisCluster, RedisServer, redis_cluster, redis_server

if TYPE_CHECKING:
    from tests.e2e.stage import Stage

#: What no log may ever hold. Each test sends them; each gateway's log is searched when it ends.
PROMPT_CANARY = "canary-prompt-7f3a"
ANSWER_CANARY = "canary-answer-7f3a"
KEY_CANARY = "sk-canary-key-7f3a"

TENANT = "acme"
USER = "u1"

Start: TypeAlias = Callable[..., GatewayProcess]
#: Sets up a stage on a server or a cluster, as the body of a fixture.
Staging: TypeAlias = "Callable[[RedisServer | RedisCluster], Iterator[Stage]]"
#: Notes a line that is printed at the end of the whole test run.
Figure: TypeAlias = Callable[[str], None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured, whether they passed or not."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [line for report in reports for name, line in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    def note(line: str) -> None:
        # Goes with the test's report, to whichever process writes the summary.
        request.node.user_properties.append(("figure", f"{request.node.name}: {line}"))

    return note


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def provider() -> Iterator[ProviderProcess]:
    with ProviderProcess.start() as running:
        yield running


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaProcess]:
    with LlamaProcess.start(tmp_path_factory.mktemp("llama")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_state(request: pytest.FixtureRequest) -> None:
    """An empty store and a provider that remembers nothing, where the test has any."""
    if "redis" in request.fixturenames:
        server: RedisServer = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        set_up_tenant(server)
    if "provider" in request.fixturenames:
        request.getfixturevalue("provider").reset()


@pytest.fixture
def start(tmp_path: Path, redis: RedisServer, provider: ProviderProcess, nursery: Nursery) -> Iterator[Start]:
    """Starts replicas on the test's Redis, with the scripted provider as ``openai``; they end with the test."""
    running: list[GatewayProcess] = []
    providers = tmp_path / "providers.toml"

    providers.write_text(f'[openai]\nbase_url = "{provider.base_url}"\nmodels = "any"\n')

    def start(**variables: str) -> GatewayProcess:
        environment = {
            "SLUICE_REDIS_URL": redis.url,
            # A busy machine is not to be taken for an outage.
            "SLUICE_REDIS_SECONDS": "1",
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_PROVIDERS": str(providers),
            "SLUICE_LOG_LEVEL": "debug",
            **variables,
        }
        log_file = tmp_path / f"gateway-{len(running)}.log"
        gateway = GatewayProcess.start(log_file, environment, nursery=nursery)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()
        require_silence(gateway.log)


@pytest.fixture
def gateway(start: Start) -> GatewayProcess:
    return start()


@pytest.fixture
async def partings() -> AsyncIterator[None]:
    """Closes the connections that a test has left open."""
    from tests.e2e.client import leave_all

    yield
    await leave_all()


@pytest.fixture
def staging(tmp_path: Path, provider: ProviderProcess, nursery: Nursery) -> Staging:
    """Sets up a stage on a server or a cluster."""
    from tests.e2e.stage import staged

    return partial(staged, tmp_path, provider, nursery)


@pytest.fixture
def stage(redis: RedisServer, staging: Staging) -> "Iterator[Stage]":
    """An empty Redis, on which a test starts what it needs."""
    yield from staging(redis)


@pytest.fixture(params=["redis", "cluster"])
def either_stage(request: pytest.FixtureRequest, staging: Staging) -> "Iterator[Stage]":
    """The same on one Redis, and on a cluster of three."""
    yield from staging(request.getfixturevalue(request.param))


@pytest.fixture
def lasting(tmp_path: Path, staging: Staging) -> "Iterator[Stage]":
    """A stage on a Redis that writes down each command before it answers."""
    (tmp_path / "data").mkdir()
    with redis_server(tmp_path / "data", append_only=True) as server:
        yield from staging(server)


@pytest.fixture
def saving(tmp_path: Path, staging: Staging) -> "Iterator[Stage]":
    """A stage on a Redis that keeps what it has when it is told to, and no more."""
    (tmp_path / "data").mkdir()
    with redis_server(tmp_path / "data") as server:
        yield from staging(server)


def set_up_tenant(redis: RedisServer, **changes: Any) -> None:
    """What an operator writes with redis-cli: the tenant's document and a user's balance, under their plain names."""
    document = {
        "user_groups": ["anonymous", "staff"],
        "api_keys": {"openai": KEY_CANARY},
        "default": "openai",
        "default_model": "echo",
        **changes,
    }
    redis.command("SET", f"tenant:{TENANT}", json.dumps(document))
    redis.command("SET", f"tokens:{TENANT}:staff:{USER}", 1_000_000)


def token(user: str = USER, tenants: tuple[str, ...] = (TENANT,), lifetime: int = 600) -> str:
    return mint(
        SECRET.encode(), user, tenants=tenants, groups=dict.fromkeys(tenants, "staff"), lifetime=lifetime,
        now=time.time(),
    )  # fmt: skip


def require_silence(log: str) -> None:
    """No message content, key or token is in a log."""
    for secret in (PROMPT_CANARY, ANSWER_CANARY, KEY_CANARY, SECRET, "eyJ"):
        assert secret not in log
    assert "Traceback" not in log
