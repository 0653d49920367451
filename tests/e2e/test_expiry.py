"""What a run leaves behind in Redis: nothing, after its time."""

import asyncio
import json

import pytest

from tests.e2e.client import complete, enqueue, fetch
from tests.e2e.conftest import TENANT, USER, Figure
from tests.e2e.stage import Stage, Store
from tests.redis_server import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

#: As short as the settings allow.
FLEETING = {
    "SLUICE_LEASE_SECONDS": "1",
    "SLUICE_LOG_KEPT_SECONDS": "2",
    "SLUICE_RUN_KEPT_SECONDS": "4",
    "SLUICE_QUEUE_SECONDS": "4",
    "SLUICE_TOTAL_SECONDS": "4",
}
#: An operator's own, and what the ledger keeps beside a balance; they stay.
BALANCE = f"tokens:{TENANT}:staff:{USER}"
LASTING = {f"tenant:{TENANT}", BALANCE, f"{{{BALANCE}}}:holds", f"{{{BALANCE}}}:ledger"}
#: What lasts for a day whatever the settings say: that a hold was settled.
DAYS = ("closed",)


def lifetimes(store: Store) -> dict[str, float]:
    """Every key, with the seconds that it has left; -1 where it is for ever."""
    left = {key: store.command("PTTL", key) for key in store.all_keys()}
    # A key may be gone between the two questions.
    return {key: ms / 1000 if ms > 0 else ms for key, ms in left.items() if ms != -2}


async def test_everything_that_a_run_needs_lapses_by_itself(stage: Stage, figure: Figure) -> None:
    stage.store.set_up(cache_seconds=3)
    gateway = stage.serve(**FLEETING)
    stream = await complete(gateway, "words-n5-i5", stream=True, conversation_id="conv-1")
    await stream.rest()
    job = await enqueue(gateway, "words-n5-i5")
    assert (await fetch(gateway, job.json["id"], wait=10)).json["status"] == "completed"
    pair = await asyncio.gather(*(complete(gateway, "words-n5-i5", cache_key="same", stream=True) for _ in range(2)))
    await asyncio.gather(*(one.rest() for one in pair))
    hit = await complete(gateway, "words-n5-i5", cache_key="same")
    await hit.rest()
    once = await complete(gateway, "words-n5-i5", headers={"Idempotency-Key": "once"})
    await once.rest()
    failed = await complete(gateway, "status-500")
    await failed.rest()

    before = lifetimes(stage.store)
    gateway.stop()
    for key, seconds in sorted(before.items()):
        figure(f"{key}: {seconds:g} s")

    assert {key for key, seconds in before.items() if seconds < 0} == LASTING
    brief = {key for key in before if not any(part in key for part in DAYS)} - LASTING
    longest = max(before[key] for key in brief)
    await asyncio.to_thread(wait_until, lambda: not brief & set(stage.store.all_keys()), "an empty store", longest + 15)
    left = {key: seconds for key, seconds in lifetimes(stage.store).items() if key not in LASTING}
    figure(f"left when {longest:g} s had passed: {json.dumps(sorted(left))}")
    assert all(any(part in key for part in DAYS) and 0 < seconds <= 86_400 for key, seconds in left.items())
