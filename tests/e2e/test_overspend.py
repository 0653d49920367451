"""Two hundred clients at once, again and again, on a balance that pays for ten answers, over two replicas."""

import asyncio
import time

import pytest

from tests.e2e.accounts import require_clean_audit
from tests.e2e.client import Answer, complete
from tests.e2e.conftest import TENANT, USER, Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

REQUESTS = 200
#: What an answer costs here, by the provider's usage. 17 are set aside for one where there is enough, and what each
#: leaves over must not pay for one more that overruns.
COST = 10
#: Pays for nine answers, and for half of the tenth.
BALANCE = 95
#: Seconds for which those that are refused come again.
SECONDS = 4.0
ACCOUNT = f"tokens:{TENANT}:staff:{USER}"


async def ask(gateway: GatewayProcess, until: float) -> list[Answer]:
    """Answers of nine words after a prompt of one, which is counted as eight; until one is served, or time is over."""
    answers: list[Answer] = []
    while not answers or (answers[-1].status != 200 and time.monotonic() < until):
        answer = await complete(gateway, "words-n9-i20", "hello", max_tokens=9)
        await answer.rest()
        answers.append(answer)
    return answers


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

    until = time.monotonic() + SECONDS
    told = await asyncio.gather(*(ask(replicas[number % 2], until) for number in range(REQUESTS)))
    answers = [answer for answers in told for answer in answers]
    over.set()
    least = await watch

    served = [answer for answer in answers if answer.status == 200]
    charged = [int(answer.headers["x-sluice-charged-tokens"]) for answer in served]
    figure(
        f"{REQUESTS} at once on {BALANCE} tokens at {COST} each, two replicas: {len(served)} served, "
        f"{len(answers) - len(served)} refused, {stage.store.balance()} left, never below {least}"
    )
    # Where so many at once are too many for the machine, some are told to come again.
    assert {answer.status for answer in answers} - {503} == {200, 429}
    assert charged == [answer.json["usage"]["total_tokens"] for answer in served]
    assert sum(charged) == BALANCE - stage.store.balance()
    assert sorted(stage.store.settlements()) == sorted(charged)
    if policy == "prepaid":
        assert len(served) == 10
        assert least == -5
    else:
        # Nine tokens are the least that a prompt of eight is admitted with; the last answers are shorter.
        assert 0 <= least == stage.store.balance() < 9
    require_clean_audit(stage.store.url)
