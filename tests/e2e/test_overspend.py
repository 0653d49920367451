"""Two hundred requests at once on a balance that pays for ten, over two replicas."""

import asyncio

import pytest

from tests.e2e.accounts import require_clean_audit
from tests.e2e.client import Answer, complete
from tests.e2e.conftest import TENANT, USER, Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

REQUESTS = 200
#: What an answer costs here, by the provider's usage; what is set aside for it is as much.
COST = 10
#: Pays for nine answers, and for half of the tenth.
BALANCE = 95
ACCOUNT = f"tokens:{TENANT}:staff:{USER}"


async def ask(gateway: GatewayProcess) -> Answer:
    """One answer of nine words after a prompt of one, counted as eight: it may have two tokens, and has more."""
    answer = await complete(gateway, "words-n9-i20", "hello", max_tokens=2)
    await answer.rest()
    return answer


async def least_balance(stage: Stage, over: asyncio.Event) -> int:
    """The lowest that the balance has been seen at until it was over."""
    least = BALANCE
    while not over.is_set():
        least = min(least, await asyncio.to_thread(stage.store.balance))
        await asyncio.sleep(0.005)
    return min(least, stage.store.balance())


@pytest.mark.parametrize("policy", ["prepaid", "strict"])
async def test_nobody_spends_what_another_has_taken(stage: Stage, figure: Figure, policy: str) -> None:
    stage.store.set_up(policy=policy)
    stage.store.command("SET", ACCOUNT, BALANCE)
    replicas = stage.serve_two()
    over = asyncio.Event()
    watch = asyncio.ensure_future(least_balance(stage, over))

    answers = await asyncio.gather(*(ask(replicas[number % 2]) for number in range(REQUESTS)))
    over.set()
    least = await watch

    served = [answer for answer in answers if answer.status == 200]
    charged = [int(answer.headers["x-sluice-charged-tokens"]) for answer in served]
    figure(
        f"{REQUESTS} at once on {BALANCE} tokens at {COST} each, two replicas: {len(served)} served, "
        f"{stage.store.balance()} left, never below {least}"
    )
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.json["usage"]["total_tokens"] for answer in served} == {COST}
    assert sum(charged) == BALANCE - stage.store.balance()
    assert sorted(stage.store.settlements()) == sorted(charged)
    if policy == "prepaid":
        assert len(served) == 10
        assert least > -COST
    else:
        assert len(served) == 9
        assert least >= 0
    require_clean_audit(stage.store.url)
