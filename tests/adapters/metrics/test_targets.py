"""How targets are told: each in one state, the most telling one."""

import time

import pytest

from adapters.metrics.targets import LEVELS, TargetLevels
from domain.completions.health import Health
from domain.completions.targets import Targets
from domain.errors import ProviderError, ProviderRateLimited, ProviderRefusedKey
from tests.builders import a_target
from tests.fakes import ListJournal

pytestmark = pytest.mark.anyio


def told(health: Health) -> dict[tuple[str, ...], float]:
    states, running = TargetLevels(Targets(health))()
    assert [states.name, running.name] == [level.name for level in LEVELS]
    return {**states.rows, **running.rows}


@pytest.fixture
def health() -> Health:
    return Health(time.monotonic, ListJournal(), lambda: 0.5)


async def test_a_target_that_answers_is_well_and_open_while_it_is_asked(health: Health) -> None:
    visit = health.visit(a_target())
    visit.answered(first_token=False)
    during = told(health)
    visit.leave()

    assert during == {("openai", "closed"): 1, ("openai",): 1}
    assert told(health) == {("openai", "closed"): 1, ("openai",): 0}


@pytest.mark.parametrize(
    ("error", "times", "state"),
    [
        (ProviderRateLimited(retry_after=None), 1, "cooling"),
        (ProviderRefusedKey(status=401), 1, "quarantined"),
        (ProviderError(), 20, "open"),
    ],
)
async def test_a_target_that_fails_is_told_with_the_reason(
    health: Health, error: ProviderError, times: int, state: str
) -> None:
    for _ in range(times):
        visit = health.visit(a_target())
        visit.failed(error)
        visit.leave()

    assert told(health) == {("openai", state): 1, ("openai",): 0}


async def test_one_that_an_operator_drained_is_that_before_all_else(health: Health) -> None:
    health.visit(a_target()).failed(ProviderRefusedKey(status=401))
    (condition,) = health.conditions

    health.drain(condition, drained=True)

    assert ("openai", "drained") in told(health)
