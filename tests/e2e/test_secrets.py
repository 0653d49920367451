"""Provider keys at rest: sealed and rotated by command while replicas serve; what is no secret keeps them from it."""

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY_CANARY, TENANT, Figure, Start, token
from tests.gateway import CHECKOUT, GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

OLD = f"old:{b64encode(bytes(range(32))).decode()}"
NEW = f"new:{b64encode(bytes(range(100, 132))).decode()}"


def sluice(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-c", "from entrypoints.cli import main; main()", *arguments]
    return subprocess.run(program, cwd=CHECKOUT, env=variables, capture_output=True, text=True, timeout=60, check=False)


def rotate(redis: RedisServer, keys: str) -> "dict[str, object]":
    ended = sluice("secrets", "rotate", "--json", SLUICE_REDIS_URL=redis.url, SLUICE_SECRET_KEYS=keys)
    assert ended.returncode in (0, 1), ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def document(redis: RedisServer, tenant: str = TENANT) -> str:
    text: bytes = redis.command("GET", f"tenant:{tenant}")
    return text.decode()


class Load:
    """Requests to a gateway, one after the other, until it is told to stop."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.statuses: list[int] = []
        self.stopped = False

    async def run(self) -> None:
        body = {"messages": [{"role": "user", "content": "hello"}], "model": "echo"}
        headers = {"Authorization": f"Bearer {token()}"}
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            while not self.stopped:
                path = f"{self.gateway.origin}/{TENANT}/v1/chat/completions"
                self.statuses.append((await client.post(path, json=body, headers=headers)).status_code)


async def test_keys_are_rotated_under_load_without_a_failed_request(
    start: Start, redis: RedisServer, provider: ProviderProcess, figure: Figure
) -> None:
    for number in range(200):
        redis.command("SET", f"tenant:t{number}", document(redis))
    assert rotate(redis, OLD) == {"sealed": 201, "current": 0, "unreadable": 0, "gone": 0, "tenants_unreadable": []}
    assert "old:" in document(redis)
    gateways = [await asyncio.to_thread(start, SLUICE_SECRET_KEYS=f"{NEW},{OLD}") for _ in range(2)]
    loads = [Load(gateway) for gateway in gateways]

    running = [asyncio.create_task(load.run()) for load in loads]
    found = await asyncio.to_thread(rotate, redis, f"{NEW},{OLD}")
    # Until every replica has read what is there now.
    await asyncio.sleep(2.5)
    for load in loads:
        load.stopped = True
    await asyncio.gather(*running)

    statuses = [status for load in loads for status in load.statuses]
    assert (found["sealed"], set(statuses)) == (201, {200})
    assert {each.headers["authorization"] for each in provider.requests()} == {f"Bearer {KEY_CANARY}"}
    assert KEY_CANARY not in document(redis)
    assert "new:" in document(redis)
    figure(f"201 tenants rotated during {len(statuses)} requests, none failed")


async def test_without_the_old_key_only_tenants_that_were_not_rotated_are_refused(
    start: Start, redis: RedisServer, provider: ProviderProcess
) -> None:
    redis.command("SET", "tenant:globex", document(redis))
    rotate(redis, OLD)
    forgotten = document(redis, "globex")
    rotate(redis, f"{NEW},{OLD}")
    redis.command("SET", "tenant:globex", forgotten)

    gateway = await asyncio.to_thread(start, SLUICE_SECRET_KEYS=NEW)
    answers = {}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        for tenant in (TENANT, "globex"):
            headers = {"Authorization": f"Bearer {token(tenants=(tenant,))}"}
            answer = await client.get(f"{gateway.origin}/{tenant}/v1/models", headers=headers)
            answers[tenant] = (answer.status_code, answer.headers.get("x-error-code"))

    assert answers == {TENANT: (200, None), "globex": (503, "tenant_misconfigured")}
    gateway.wait_for_log("A tenant's secrets cannot be opened tenant=globex why=unknown_key")
    assert rotate(redis, NEW)["tenants_unreadable"] == ["globex"]


# --- K5: what guards nothing keeps it from starting. (All of its forms: tests/config.) --------------------------------

PLACEHOLDER = "change-me-change-me-change-me-change-me"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"SLUICE_JWT_SECRET": PLACEHOLDER}, "SLUICE_JWT_SECRET: is a placeholder, not a secret"),
        ({"SLUICE_SECRET_KEYS": ""}, "SLUICE_SECRET_KEYS: must not be empty"),
        ({"SLUICE_SECRET_KEYS": f"a:{b64encode(bytes(32)).decode()}"}, "key a is a pattern, not a secret"),
    ],
)
def test_a_secret_that_is_none_is_told_in_a_sentence_and_ends_with_78(variables: dict[str, str], sentence: str) -> None:
    ended = sluice("serve", SLUICE_PORT="0", **variables)

    assert (ended.returncode, ended.stdout) == (78, "")
    assert sentence in ended.stderr
    assert not any(value in ended.stderr for value in variables.values() if len(value) > 20)
    assert "Traceback" not in ended.stderr


def test_a_key_that_the_command_makes_is_one(redis: RedisServer, tmp_path: Path) -> None:
    made = sluice("secrets", "make-key", "2027")
    (tmp_path / "keys").write_text(f"# made today\n{made.stdout}")

    ended = sluice("secrets", "rotate", SLUICE_REDIS_URL=redis.url, SLUICE_SECRET_KEYS_FILE=str(tmp_path / "keys"))

    assert (ended.returncode, ended.stdout) == (0, "0 current, 1 sealed, 0 unreadable, 0 gone\n")
    assert '"data_key":"2027:' in document(redis)


def test_rotation_without_a_key_is_refused(redis: RedisServer) -> None:
    ended = sluice("secrets", "rotate", SLUICE_REDIS_URL=redis.url)

    assert ended.returncode == 78
    assert "SLUICE_SECRET_KEYS: is required" in ended.stderr
