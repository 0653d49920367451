"""What is private leaves no trace: not in the log at any level, not in numbers, in errors, or in any key of Redis."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contracts.backends import eventually
from tests.e2e.conftest import ANSWER_CANARY, KEY_CANARY, PROMPT_CANARY, TENANT, Start, token
from tests.e2e.test_secrets import NEW, rotate
from tests.gateway import SECRET, GatewayProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

CACHE_KEY = "canary-cache-key-7f3a"
OTHER_KEY = "canary-idempotency-key-7f3a"
MESSAGES = [{"role": "user", "content": f"say {PROMPT_CANARY} {ANSWER_CANARY}"}]


@pytest.fixture(params=["text", "json"])
async def gateway(request: pytest.FixtureRequest, start: Start, redis: RedisServer) -> GatewayProcess:
    # Compressed, a value would not be found.
    redis.command("CONFIG", "SET", "rdbcompression", "no")
    rotate(redis, NEW)
    given = {"SLUICE_SECRET_KEYS": NEW, "SLUICE_LOG_FORMAT": request.param}
    return await asyncio.to_thread(start, **given)


def requests(bearer: str) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """A request of each kind: paths, headers and bodies; some are refused, and some fail at the provider."""
    signed_in = {"Authorization": f"Bearer {bearer}", "Idempotency-Key": OTHER_KEY}
    anybody = {"X-Tenant-Id": TENANT}
    for stream, fields in itertools.product(
        (False, True), ({}, {"cache_key": CACHE_KEY}, {"model": "status-500"}, {"temperature": PROMPT_CANARY})
    ):
        body = {"messages": MESSAGES, "stream": stream, **fields}
        yield f"/{TENANT}/v1/chat/completions", {"Authorization": signed_in["Authorization"]}, body
        yield "/v1/chat/completions", {**anybody, "Prefer": "wait=10"}, {"group_id": "anonymous", **body}
    yield f"/{TENANT}/v1/chat/completions", signed_in, {"messages": MESSAGES}
    yield f"/{TENANT}/v1/chat/completions", {"Authorization": f"Bearer {bearer}x"}, {"messages": MESSAGES}
    yield f"/{PROMPT_CANARY}/v1/chat/completions", signed_in, {"messages": MESSAGES}


async def test_nothing_private_is_anywhere_but_where_it_belongs(gateway: GatewayProcess, redis: RedisServer) -> None:
    bearer = token()
    private = (KEY_CANARY, bearer, bearer.rpartition(".")[2], SECRET, CACHE_KEY, OTHER_KEY)

    async with httpx.AsyncClient(base_url=gateway.origin, timeout=20, trust_env=False) as client:
        answers = [
            await client.post(path, headers=headers, json=body, params={"api_key": KEY_CANARY})
            for path, headers, body in requests(bearer)
        ]
        numbers = (await client.get("/metrics")).text

    refused = [answer for answer in answers if answer.status_code >= 400]
    assert len(refused) >= 6
    for answer in refused:
        assert not any(
            canary in f"{answer.headers}{answer.text}" for canary in (*private, PROMPT_CANARY, ANSWER_CANARY)
        )
    for canary in (*private, PROMPT_CANARY, ANSWER_CANARY):
        assert canary not in numbers
        assert canary not in gateway.log
    assert "sluice_http_requests_total" in numbers
    assert "Request served" in gateway.log
    found = everything(redis)
    for canary in private:
        assert canary.encode() not in found
    # The answer is kept for whoever asks for it again; what was asked, no longer than it takes.
    assert ANSWER_CANARY.encode() in found
    await eventually(lambda: nobody_has_the_prompts(redis))


async def nobody_has_the_prompts(redis: RedisServer) -> bool:
    return not redis.command("KEYS", "*:request:*")


def everything(redis: RedisServer) -> bytes:
    """The names and the contents of all keys, as they lie on the disk."""
    names = redis.command("KEYS", "*")
    # RESTORE's form has lists and streams in pieces; a text that is whole in a value is whole in it.
    return b"\n".join(part for name in names for part in (name, redis.command("DUMP", name) or b""))


async def test_the_search_would_find_what_is_there(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "rdbcompression", "no")
    redis.command("HSET", "a", "field", f"x{KEY_CANARY}y")
    redis.command("XADD", "b", "*", "event", json.dumps({"text": PROMPT_CANARY}))
    redis.command("SET", f"c:{CACHE_KEY}", "1")

    found = everything(redis)

    assert all(canary.encode() in found for canary in (KEY_CANARY, PROMPT_CANARY, CACHE_KEY))
