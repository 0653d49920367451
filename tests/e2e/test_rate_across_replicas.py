"""One limit, three replicas, more than it lets through: by the clock of the store that they share."""

import asyncio
import itertools
import time

import pytest

from tests.e2e.client import complete
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

LIMIT = 600
SECONDS = 30.0
CLIENTS = 24


def store_time(stage: Stage) -> float:
    seconds, micros = stage.store.nodes[0].command("TIME")
    return int(seconds) + int(micros) / 1e6


async def keep_asking(gateway: GatewayProcess, until: float, statuses: list[int]) -> None:
    while time.monotonic() < until:
        answer = await complete(gateway, "echo", "hi", max_tokens=1)
        await answer.rest()
        statuses.append(answer.status)
        # A client that is refused comes again at once, but not in a loop that starves the replicas.
        await asyncio.sleep(0.05)


async def test_three_replicas_admit_a_minutes_limit_and_no_more(stage: Stage, figure: Figure) -> None:
    stage.store.set_up(limits={"requests_per_minute": LIMIT})
    replicas = [*stage.serve_two(), stage.serve()]
    statuses: list[int] = []
    began, until = store_time(stage), time.monotonic() + SECONDS

    clients = [
        keep_asking(gateway, until, statuses) for gateway in itertools.islice(itertools.cycle(replicas), CLIENTS)
    ]
    await asyncio.gather(*clients)

    took, admitted = store_time(stage) - began, statuses.count(200)
    figure(
        f"{len(statuses)} requests in {took:.1f} s of Redis's clock on three replicas at {LIMIT} a minute: "
        f"{admitted} admitted, {statuses.count(429)} refused"
    )
    assert took < 60
    assert set(statuses) == {200, 429}
    assert len(statuses) > 1.5 * LIMIT
    assert abs(admitted - LIMIT) <= LIMIT / 100
