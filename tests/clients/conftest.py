"""An installation that clients of all kinds read from: a gateway, its Redis, a scripted provider; fronts before it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.clients.front import Front, front
from tests.e2e.conftest import TENANT, require_silence, set_up_tenant, token
from tests.gateway import SECRET, GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import redis_server

TOOLS = Path(__file__).parents[2] / ".tools"


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose waits are those it ships with, and a tenant in which nobody in particular may spend."""
    folder = tmp_path_factory.mktemp("clients")
    providers = folder / "providers.toml"
    with ProviderProcess.start() as provider, redis_server(folder) as redis:
        providers.write_text(f'[openai]\nbase_url = "{provider.base_url}"\nmodels = "any"\n')
        set_up_tenant(redis, groups={"anonymous": {"initial_tokens": 100_000}})
        environment = {
            "SLUICE_REDIS_URL": redis.url,
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_PROVIDERS": str(providers),
            "SLUICE_LOG_LEVEL": "debug",
        }
        with GatewayProcess.start(folder / "gateway.log", environment) as running:
            warm_up(running)
            yield running
        require_silence(running.log)


def warm_up(gateway: GatewayProcess) -> None:
    """Have the vocabulary loaded, which the first prompt does that is counted.

    On two cores on which a browser starts that takes seconds, and while it does, replies of Redis come too late for
    those who ask at the same time: they get 503.
    """
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {token()}"}
    url = f"{gateway.origin}/openai/v1/chat/completions"
    httpx.post(url, json=body, headers=headers, timeout=30, trust_env=False).raise_for_status()


@pytest.fixture
def backend(gateway: GatewayProcess) -> Iterator[Front]:
    """What stands between a browser, which cannot name the tenant, and the gateway."""
    with front(gateway.origin, {"X-Tenant-Id": TENANT}) as running:
        yield running


def client_environment(origin: str, **more: str) -> Mapping[str, str]:
    """The variables with which OpenAI's clients find the gateway, and none that would lead them elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_api_key"))}
    return {**kept, "OPENAI_BASE_URL": f"{origin}/openai/v1", "OPENAI_API_KEY": token(), **more}


def node_folder(folder: Path) -> Path:
    """A folder in which a program for Node finds OpenAI's client."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = TOOLS / "node-openai" / "node_modules"
    assert modules.exists(), "no client for Node; `make test-tools` fetches it"
    (folder / "node_modules").symlink_to(modules)
    return folder
