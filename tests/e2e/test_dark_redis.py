"""A Redis that is dark for half a minute, under load: nobody hangs, nothing is lost, and it is over at once."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.e2e.accounts import require_clean_audit
from tests.e2e.client import Answer, complete, fetch, normal
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

DARK = 30.0
#: The longest that anybody may wait for an answer, and for readiness, in seconds.
PATIENCE = 1.0


@dataclass(slots=True)
class Load:
    """Clients that ask again and again: how long each waited, and what each was told."""

    seconds: list[float] = field(default_factory=list)
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    over: bool = False

    async def keep_asking(self, gateway: GatewayProcess) -> None:
        while not self.over:
            asked = time.monotonic()
            answer = await complete(gateway, "echo", "hello")
            await answer.rest()
            self.seconds.append(time.monotonic() - asked)
            self.answers.append((asked, answer))
            await asyncio.sleep(0.1)


def darken(server: RedisServer, how: str) -> None:
    if how == "frozen":
        server.freeze()
    else:
        server.kill()


def lighten(server: RedisServer, how: str) -> None:
    if how == "frozen":
        server.thaw()
    else:
        server.start()


def written(folder: Path) -> int:
    """How many settlements are on the disk."""
    found = 0
    for path in folder.glob("*.outbox"):
        # It may go meanwhile, with its process.
        with suppress(FileNotFoundError):
            found += path.read_bytes().count(b"\n")
    return found


async def seconds_until_ready(gateway: GatewayProcess) -> float:
    began = time.monotonic()
    async with httpx.AsyncClient() as client:
        # Each question takes its time, so this is no busy loop.
        while (await client.get(f"{gateway.origin}/readyz", timeout=10)).status_code != 200:
            pass
    return time.monotonic() - began


async def finished(gateway: GatewayProcess, streams: list[Answer]) -> set[bytes]:
    """What the streams say at their end, and that it is what an undisturbed one says."""
    bodies = {normal(await stream.rest()) for stream in streams}
    whole = normal(await (await complete(gateway, "words-n150", stream=True)).rest())
    assert bodies == {whole}
    return bodies


@pytest.mark.parametrize("how", ["frozen", "closed"])
async def test_half_a_minute_without_redis_hangs_nobody_and_loses_nothing(
    lasting: Stage, figure: Figure, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "outbox"
    gateway = lasting.serve(SLUICE_OUTBOX=str(folder), SLUICE_REDIS_GRACE_SECONDS="60", SLUICE_REDIS_SECONDS="0.3")
    server, load = lasting.store.nodes[0], Load()
    streams = [await complete(gateway, "words-n150-i40", stream=True) for _ in range(5)]
    clients = [asyncio.ensure_future(load.keep_asking(gateway)) for _ in range(10)]
    await asyncio.gather(*(stream.until_events(5) for stream in streams))

    darken(server, how)
    dark = time.monotonic()
    # Those who asked before may all have been admitted, and wait for their answers until the light.
    clients += [asyncio.ensure_future(load.keep_asking(gateway)) for _ in range(5)]
    await asyncio.sleep(DARK)
    waiting = await asyncio.to_thread(written, folder)
    lighten(server, how)
    light = time.monotonic()
    ready = await seconds_until_ready(gateway)
    await finished(gateway, streams)
    load.over = True
    await asyncio.gather(*clients)
    await asyncio.to_thread(wait_until, lambda: written(folder) == 0, "the outbox is empty")

    # Who asked just before the light may have got through. Who was admitted just before the dark is a running request:
    # its answer is told when it is on record.
    refused = [answer for asked, answer in load.answers if dark < asked < light - PATIENCE]
    slowest = max(seconds for seconds, (asked, _) in zip(load.seconds, load.answers, strict=True) if asked > dark)
    running = max(seconds for seconds, (asked, _) in zip(load.seconds, load.answers, strict=True) if asked <= dark)
    served = [answer for _, answer in load.answers if answer.status == 200]
    figure(
        f"{how} for {DARK:.0f} s: {len(refused)} requests refused, {len(load.seconds)} in all, the slowest took "
        f"{slowest:.2f} s, those admitted before it {running:.2f} s; 5 streams exact; {waiting} settlements waited; "
        f"ready after {ready:.2f} s"
    )
    assert {answer.status for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert slowest < PATIENCE
    assert ready < PATIENCE
    assert waiting >= 5
    assert running < DARK + 2
    acknowledged = [int(answer.headers["x-sluice-charged-tokens"]) for answer in served]
    assert sum(lasting.store.settlements()) == lasting.store.spent()
    assert lasting.store.spent() == sum(acknowledged) + 6 * 151
    require_clean_audit(lasting.store.url)


async def test_what_waits_in_the_outbox_of_a_killed_replica_is_settled_once_by_the_next(
    lasting: Stage, figure: Figure, tmp_path: Path
) -> None:
    folder = tmp_path / "outbox"
    settings = {"SLUICE_OUTBOX": str(folder), "SLUICE_REDIS_GRACE_SECONDS": "60"}
    first = lasting.serve(**settings)
    server = lasting.store.nodes[0]
    streams = [await complete(first, "words-n20-i50", stream=True) for _ in range(5)]
    await asyncio.gather(*(stream.until_events(5) for stream in streams))

    server.freeze()
    try:
        await asyncio.to_thread(wait_until, lambda: written(folder) >= 5, "five settlements on the disk")
        first.kill()
        second = await asyncio.to_thread(lasting.serve, **settings)
        inherited = written(folder)
    finally:
        server.thaw()
    thawed = time.monotonic()
    await asyncio.to_thread(wait_until, lambda: written(folder) == 0, "the outbox is empty")
    took = time.monotonic() - thawed
    states = [await fetch(second, stream.run_id, wait=20) for stream in streams]

    figure(f"{inherited} settlements of a killed replica were settled by the next one {took:.2f} s after Redis woke")
    assert inherited == 5
    assert lasting.store.settlements() == [21] * 5
    assert lasting.store.spent() == 5 * 21
    assert [int(state.headers["x-sluice-charged-tokens"]) for state in states] == [21] * 5
    require_clean_audit(lasting.store.url)
