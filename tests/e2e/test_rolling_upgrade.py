"""Two replicas behind nginx are replaced, one after the other, under load: nobody notices."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Answer, complete, follow, joined, last_id, text_of
from tests.e2e.conftest import TENANT, USER
from tests.e2e.front import nginx
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow]

STREAMS, REQUESTS_PER_SECOND = 200, 50
WORDS = 32
#: Five words a second, as a model writes them, for some 6 s: the drain waits for them.
MODEL = f"words-n{WORDS}-i200"
SAID = " ".join(f"w{number}" for number in range(WORDS))
DRAIN = "25"


@dataclass(slots=True)
class Load:
    """What goes on meanwhile, and what went wrong in it."""

    front: GatewayProcess
    streams: int = 0
    resumed: int = 0
    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    over: bool = False

    async def during(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Keep up the load until the work is done, and let all of it come to its end."""
        tasks = [asyncio.create_task(self._stream_on(number)) for number in range(STREAMS)]
        tasks.append(asyncio.create_task(self._request_on()))
        try:
            await work()
        finally:
            self.over = True
            await asyncio.gather(*tasks)

    async def _stream_on(self, number: int) -> None:
        # Not all at the same moment.
        await asyncio.sleep(number * 6 / STREAMS)
        while not self.over:
            await self._noting(self._stream(leaves=number % 2 == 0))
            self.streams += 1

    async def _stream(self, *, leaves: bool) -> None:
        first = await complete(self.front, MODEL, stream=True)
        assert first.status == 200, first.status
        parts = [await first.until_events(10 if leaves else 10_000)]
        if leaves:
            # Gone in mid-stream, and back through nginx at whichever replica.
            first.leave()
            second = await follow(self.front, first.run_id, last_id(parts[0]))
            assert second.status == 200, second.status
            parts.append(await second.rest())
            self.resumed += 1
        body = joined(*parts)
        assert text_of(body).strip() == SAID, body[-300:]
        assert body.endswith(b"data: [DONE]\n\n"), body[-300:]
        first.leave()

    async def _request_on(self) -> None:
        pending: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        while not self.over:
            due = int((time.monotonic() - began) * REQUESTS_PER_SECOND)
            while self.requests < due:
                self.requests += 1
                task = asyncio.create_task(self._noting(self._request()))
                pending.add(task)
                task.add_done_callback(pending.discard)
            await asyncio.sleep(0.02)
        await asyncio.gather(*pending)

    async def _request(self) -> None:
        answer: Answer = await complete(self.front, "echo")
        await answer.rest()
        assert answer.status == 200, (answer.status, answer.body[:300])

    async def _noting(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (AssertionError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.wrong.append(f"{type(error).__name__}: {error}")


async def test_both_replicas_are_replaced_and_no_request_fails_and_no_transcript_breaks(
    stage: Stage, tmp_path: Path
) -> None:
    settings = {"SLUICE_DRAIN_SECONDS": DRAIN, "SLUICE_REQUESTS_PER_MINUTE": "", "SLUICE_TOKENS_PER_MINUTE": ""}
    # What is held for two hundred streams at once is more than anybody else here needs.
    stage.store.command("SET", f"tokens:{TENANT}:staff:{USER}", 10**12)
    replicas = list(stage.serve_two(**settings))

    async def replace() -> None:
        for number, replica in enumerate(replicas):
            await asyncio.sleep(2)  # load, and nothing else
            status = await asyncio.to_thread(replica.stop, 60)
            assert status == 0
            replicas[number] = await asyncio.to_thread(stage.serve, port=replica.port, **settings)
        await asyncio.sleep(2)

    with nginx(tmp_path, [replica.port for replica in replicas]) as front:
        load = Load(front)
        await load.during(replace)

    told = f"{load.streams} streams, {load.resumed} of them resumed, {load.requests} requests"
    sys.stdout.write(f"\n{told}\n")
    assert Counter(load.wrong) == Counter(), told
    assert load.streams >= STREAMS
    assert load.resumed >= STREAMS // 4
    assert load.requests > REQUESTS_PER_SECOND * 5
