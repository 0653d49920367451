"""A node of a cluster is down, and with it the limits of a tenant: whose balance is there goes on, within a share."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.redis import keys
from tests.e2e.client import Answer, ask
from tests.e2e.conftest import TENANT, Figure, Staging, token
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.redis_server import redis_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

LIMIT, REPLICAS = 90, 3
SHARE = LIMIT // REPLICAS


@pytest.fixture
def tolerant(tmp_path: Path, staging: Staging) -> Iterator[Stage]:
    """A stage on a cluster that goes on with the slots of the nodes that are left."""
    (tmp_path / "nodes").mkdir()
    with redis_cluster(tmp_path / "nodes") as cluster:
        for node in cluster.nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        yield from staging(cluster)


async def spend(gateway: GatewayProcess, user: str) -> Answer:
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {token(user)}"}
    answer = await ask(gateway, "POST", f"/{TENANT}/v1/chat/completions", body, headers)
    await answer.rest()
    return answer


async def test_limits_are_a_share_of_their_own_while_their_node_is_down(tolerant: Stage, figure: Figure) -> None:
    store = tolerant.store
    store.set_up(limits={"requests_per_minute": LIMIT}, groups={"staff": {"initial_tokens": 100_000}})
    gateway = tolerant.serve(SLUICE_REPLICAS=str(REPLICAS), SLUICE_JOB_SLOTS="0")
    meters = store.node_of(keys.meter(TENANT, "rpm"))
    balances = {user: store.node_of(f"tokens:{TENANT}:staff:{user}") for user in map("u{}".format, range(2, 40))}
    there = next(user for user, node in balances.items() if node is not meters)
    dark = next(user for user, node in balances.items() if node is meters)
    before = await spend(gateway, there)

    meters.kill()
    down = time.monotonic()
    refused = [await spend(gateway, dark) for _ in range(5)]
    answers = [await spend(gateway, there) for _ in range(SHARE + 15)]
    took = time.monotonic() - down
    await asyncio.to_thread(meters.start)
    back = time.monotonic()
    while "x-sluice-rate-limit" in (after := await spend(gateway, there)).headers or after.status == 503:
        assert time.monotonic() - back < 20
        await asyncio.sleep(0.05)

    told = Counter(answer.status for answer in answers)
    figure(f"a share of {SHARE} with the meters' node down: {dict(told)}; shared again {time.monotonic() - back:.1f} s")
    assert before.status == 200
    assert "x-sluice-rate-limit" not in before.headers
    assert {answer.status for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    # A third of the runs would be kept on the node that is down: 503. They count towards the share like the others.
    assert told[200] + told[503] == SHARE
    assert told[200] >= SHARE // 3
    assert told[429] == 15
    limited = [answer for answer in answers if answer.status in (200, 429)]
    assert all(answer.headers["x-sluice-rate-limit"] == "local" for answer in limited)
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in limited} == {str(SHARE)}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 429)
    assert "Limits are each replica's own" in gateway.log
    gateway.wait_for_log("Limits are shared again")
    assert took / len(answers + refused) < 1
