"""Clients that leave at any moment, thousands of them: afterwards nothing is left of them, and everybody is served."""

import asyncio
import json
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT, USER, Figure, Start, token
from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

#: How many clients leave; ``DISCONNECTS=100000`` takes an hour or so.
COUNT = int(os.environ.get("DISCONNECTS", "1500"))
#: How many of them are there at the same time, and the seconds after which the last has left.
AT_ONCE = 32
LATEST = 0.06
#: What may be left more than there was, of sockets and connections: an idle one or two more than before.
MARGIN = 2
#: It is not limits that are to be met.
UNLIMITED = {
    "user_groups": ["staff"],
    "api_keys": {"openai": "sk-made-up"},
    "default": "openai",
    "limits": {"requests_per_minute": None, "tokens_per_minute": None},
}
#: Answers of every length and kind, and providers that break off, fall silent or fail.
MODELS = ("words-n8-i5", "echo", "words-n3-i20", "cut-mid-n3", "status-503", "slow-40", "stall-n2", "reset")


def request(model: str, stream: bool) -> bytes:
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = (
        f"POST /{TENANT}/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {token(lifetime=7200)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def leave_early(gateway: GatewayProcess, dice: random.Random, sent: bytes) -> None:
    """Ask, and leave at any moment: in the middle of the request, before the answer, within it, with a reset or not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(sent if dice.random() < 0.9 else sent[: dice.randrange(len(sent))])
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.uniform(0, LATEST)):
                while await reader.read(4096):
                    pass
        if dice.random() < 0.5:
            writer.transport.abort()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def leave_all(gateway: GatewayProcess, count: int, seed: int) -> None:
    dice, left = random.Random(seed), iter(range(count))
    requests = [request(model, stream) for model in MODELS for stream in (True, False)]

    async def visitor() -> None:
        for _ in left:
            with suppress(ConnectionError):
                await leave_early(gateway, dice, dice.choice(requests))

    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))


async def serve(gateway: GatewayProcess, count: int) -> int:
    """How many of so many requests, one after the other, are answered as they should be."""
    good = 0
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request("echo", stream=False))
        good += (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
    return good


def sockets(gateway: GatewayProcess) -> int:
    return sum(_leads_to(link).startswith("socket:") for link in Path(f"/proc/{gateway.pid}/fd").iterdir())


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        # It has been closed since the folder was read.
        return ""


def connections(redis: RedisServer) -> int:
    # The one that asks is among them.
    return int(redis.command("INFO", "clients")["connected_clients"])


async def settled(gateway: GatewayProcess, redis: RedisServer, most: tuple[int, int]) -> tuple[int, int]:
    """Sockets and connections to Redis, as soon as there are no more than these, or after a while."""
    for _ in range(600):
        left = sockets(gateway), connections(redis)
        if left[0] <= most[0] and left[1] <= most[1]:
            break
        await asyncio.sleep(0.1)
    return sockets(gateway), connections(redis)


async def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    start: Start, redis: RedisServer, figure: Figure
) -> None:
    # What falls silent is given up soon, so that what is left at the end was left by those who left.
    gateway = start(
        SLUICE_IDLE_SECONDS="0.5", SLUICE_LOG_LEVEL="error", SLUICE_FIRST_BYTE_SECONDS="2", SLUICE_TOTAL_SECONDS="3"
    )
    redis.command("SET", f"tenant:{TENANT}", json.dumps(UNLIMITED))
    redis.command("SET", f"tokens:{TENANT}:staff:{USER}", 10**12)
    # As many at once as there will be, so that pools are as large as they get.
    await leave_all(gateway, 300, seed=0)
    await asyncio.sleep(4)
    before = sockets(gateway), connections(redis)

    await leave_all(gateway, COUNT, seed=1)
    served = await serve(gateway, 100)
    after = await settled(gateway, redis, (before[0] + MARGIN, before[1] + MARGIN))

    left = f"sockets and connections to Redis: {before} before, {after} after"
    figure(f"{COUNT} clients left; {left}; {served} of 100 served")
    assert served == 100
    assert after[0] <= before[0] + MARGIN
    assert after[1] <= before[1] + MARGIN
