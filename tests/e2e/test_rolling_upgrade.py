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
    pending: dict["asyncio.Task[None]", float] = field(default_factory=dict)

    async def during(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Keep up the load until the work is done, and let all of it come to its end."""
        tasks = [asyncio.create_task(self._stream_on(number)) for number in range(STREAMS)]
        tasks.append(asyncio.create_task(self._request_on()))
        try:
            await work()
        finally:
            self.over = True
            await asyncio.gather(*tasks)

    async def settled(self) -> None:
        """Return once whatever was asked before now has its answer: the replicas of now have taken up the load.

        nginx asks each replica once for a request. One that a replica refused as it stopped, and that waits at the
        other one, has nowhere to go if that is stopped as well.
        """
        now = time.monotonic()
        while any(asked < now for asked in self.pending.values()):  # noqa: ASYNC110 - an event for each costs more
            await asyncio.sleep(0.05)

    async def _stream_on(self, number: int) -> None:
        # Not all at the same moment.
        await asyncio.sleep(number * 6 / STREAMS)
        while not self.over:
            await self._noting(self._stream(leaves=number % 2 == 0))
            self.streams += 1

    async def _stream(self, *, leaves: bool) -> None:
        answer = await complete(self.front, MODEL, stream=True)
        assert answer.status == 200, answer.status
        run_id, parts = answer.run_id, [await answer.until_events(10 if leaves else 10_000)]
        while not parts[-1].endswith(b"data: [DONE]\n\n"):
            # Gone in mid-stream, or cut off as the replica that it was read from ended: back through nginx, wherever.
            answer.leave()
            answer = await follow(self.front, run_id, last_id(joined(*parts)))
            assert answer.status == 200, answer.status
            parts.append(await answer.until_events(10_000))
            self.resumed += 1
        answer.leave()
        body = joined(*parts)
        assert text_of(body).strip() == SAID, body[-300:]

    async def _request_on(self) -> None:
        began = time.monotonic()
        while not self.over:
            due = int((time.monotonic() - began) * REQUESTS_PER_SECOND)
            while self.requests < due:
                self.requests += 1
                task = asyncio.create_task(self._noting(self._request()))
                self.pending[task] = time.monotonic()
                task.add_done_callback(self.pending.pop)
            await asyncio.sleep(0.02)
        await asyncio.gather(*self.pending)

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

    async def replace(load: Load) -> None:
        for number, replica in enumerate(replicas):
            await asyncio.sleep(2)  # load, and nothing else
            await load.settled()
            status = await asyncio.to_thread(replica.stop, 60)
            assert status == 0
            replicas[number] = await asyncio.to_thread(stage.serve, SLUICE_PORT=str(replica.port), **settings)
        await asyncio.sleep(2)

    with nginx(tmp_path, [replica.port for replica in replicas]) as front:
        load = Load(front)
        await load.during(lambda: replace(load))

    told = f"{load.streams} streams, {load.resumed} of them resumed, {load.requests} requests"
    sys.stdout.write(f"\n{told}\n")
    assert Counter(load.wrong) == Counter(), told
    assert load.streams >= STREAMS
    assert load.resumed >= STREAMS // 4
    assert load.requests > REQUESTS_PER_SECOND * 5
