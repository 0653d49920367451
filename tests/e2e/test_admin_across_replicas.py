"""What an operator does at one replica is in force at the other within 5 seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest

from adapters.auth.mint import mint
from domain.scopes import ADMIN
from tests.e2e.conftest import TENANT, Start, set_up_tenant, token
from tests.gateway import SECRET, GatewayProcess
from tests.ports import free_port
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A gateway, and the port of its admin API."""

    gateway: GatewayProcess
    admin_port: int

    def ask(self) -> httpx.Response:
        """A completion, for a user of the tenant's."""
        return httpx.post(
            f"{self.gateway.origin}/{TENANT}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "Hello"}]},
            headers={"Authorization": f"Bearer {token()}"},
            timeout=20,
        )

    def provider(self) -> str | None:
        """Who answers."""
        found: str | None = self.ask().headers.get("x-sluice-provider")
        return found

    def administer(self, method: str, path: str, body: object = None) -> httpx.Response:
        bearer = mint(SECRET.encode(), "olga", tenants=(), groups={}, lifetime=60, now=time.time(), scopes=(ADMIN,))
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{self.admin_port}/admin/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {bearer}", "If-Match": "*"},
            timeout=20,
        )
        assert answer.is_success, answer.text
        return answer


@pytest.fixture
def replicas(start: Start, provider: ProviderProcess) -> tuple[Replica, Replica]:
    def replica() -> Replica:
        port = free_port()
        return Replica(start(SLUICE_ADMIN_PORT=str(port), SLUICE_UPSTREAM=provider.base_url), port)

    return replica(), replica()


def seconds_until(met: Callable[[], bool]) -> float:
    """How long it takes; no more than three times as long as it may."""
    began = time.monotonic()
    while not met() and time.monotonic() < began + 3 * _SECONDS:
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_changed_tenant_is_another_replicas_too(replicas: tuple[Replica, Replica]) -> None:
    here, there = replicas
    before = there.ask().status_code

    here.administer("PATCH", f"/tenants/{TENANT}", {"api_keys": None})

    assert before == 200
    assert seconds_until(lambda: there.ask().status_code == 403) < _SECONDS


@pytest.mark.slow
def test_a_drained_target_is_passed_over_by_another_replica_until_it_is_put_back_there(
    replicas: tuple[Replica, Replica], redis: RedisServer
) -> None:
    here, there = replicas
    set_up_tenant(redis, routes=[{"fallbacks": [{"provider": "upstream"}]}])
    asked = [replica.provider() for replica in replicas]
    (target,) = here.administer("GET", "/targets").json()["data"]
    path = f"/targets/{quote(target['id'], safe='')}"

    here.administer("POST", f"{path}/drain")
    drained = seconds_until(lambda: there.provider() == "upstream")
    there.administer("POST", f"{path}/undrain")
    restored = seconds_until(lambda: here.provider() == "openai")

    assert asked == ["openai", "openai"]
    assert max(drained, restored) < _SECONDS
