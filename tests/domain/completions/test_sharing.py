"""Replicas tell each other how the targets are: what one finds all heed, and one probes; without it each is alone."""

import asyncio

import pytest

from adapters.memory.health import MemoryHealthBoard
from domain.circuits import State
from domain.completions.health import Health
from domain.completions.sharing import Sharing
from domain.completions.targets import Targets
from domain.errors import (
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
    StoreUnavailable,
    UnknownTarget,
)
from domain.facts import Unexpected
from domain.providers import Target
from tests.builders import a_target
from tests.domain.completions.stage import ONE, TWO
from tests.fakes import FlakyStore, FrozenClock, ListJournal

pytestmark = pytest.mark.anyio


class Replicas:
    """Some replicas with one board and one clock."""

    def __init__(self, count: int = 2) -> None:
        self.clock = FrozenClock()
        self.journal = ListJournal()
        self.board = FlakyStore(MemoryHealthBoard(self.clock))
        self.health = [Health(self.clock, self.journal, lambda: 0.0) for _ in range(count)]
        self.sharing = [
            Sharing(f"r{number}", health, self.board.port, self.journal) for number, health in enumerate(self.health)
        ]

    async def round(self) -> None:
        for sharing in self.sharing:
            await sharing.round()

    def break_down(self, target: Target = ONE, replica: int = 0) -> None:
        for _ in range(5):
            visit = self.health[replica].visit(target)
            visit.failed(ProviderTimeout())
            visit.leave()

    def may_ask(self, target: Target = ONE) -> list[bool]:
        return [health.choose([target]) is not None for health in self.health]

    async def prober(self) -> Health:
        """Whoever may probe a target that broke down, once its pause is over."""
        self.break_down()
        await self.round()
        self.clock.advance(5)
        self.may_ask()
        await self.round()
        return self.health[self.may_ask().index(True)]

    def states(self) -> list[State]:
        return [condition.circuit.state for health in self.health for condition in health.conditions]


@pytest.fixture
def replicas() -> Replicas:
    found = Replicas()
    found.may_ask()
    return found


async def test_a_circuit_that_opens_on_one_replica_is_open_on_all(replicas: Replicas) -> None:
    replicas.break_down()
    before = replicas.may_ask()

    await replicas.round()

    assert (before, replicas.may_ask()) == ([False, True], [False, False])


async def test_when_the_pause_is_over_one_replica_probes(replicas: Replicas) -> None:
    await replicas.prober()

    assert sorted(replicas.may_ask()) == [False, True]


async def test_what_the_probe_finds_holds_for_all(replicas: Replicas) -> None:
    prober = await replicas.prober()

    visit = prober.visit(ONE)
    visit.answered(first_token=True)
    visit.leave()
    await replicas.round()
    await replicas.round()

    assert replicas.states() == [State.CLOSED, State.CLOSED]


async def test_a_probe_that_fails_keeps_all_away_for_longer(replicas: Replicas) -> None:
    prober = await replicas.prober()

    visit = prober.visit(ONE)
    visit.failed(ProviderTimeout())
    visit.leave()
    await replicas.round()
    await replicas.round()
    replicas.clock.advance(9)

    assert replicas.may_ask() == [False, False]


async def test_a_key_that_one_replica_was_refused_rests_on_all_for_every_model(replicas: Replicas) -> None:
    visit = replicas.health[0].visit(ONE)
    visit.failed(ProviderRefusedKey(status=401))
    visit.leave()

    await replicas.round()

    assert (replicas.may_ask(ONE), replicas.may_ask(TWO)) == ([False, False], [False, False])
    assert replicas.may_ask(a_target(key="sk-other")) == [True, True]


async def test_a_key_that_cools_on_one_replica_cools_on_all_for_as_long(replicas: Replicas) -> None:
    visit = replicas.health[0].visit(ONE)
    visit.failed(ProviderRateLimited(retry_after=30.0))
    visit.leave()
    await replicas.round()

    replicas.clock.advance(29)
    early = replicas.may_ask()
    replicas.clock.advance(2)

    assert (early, replicas.may_ask()) == ([False, False], [True, True])


async def test_a_replica_that_has_not_asked_a_target_hears_of_it_when_it_does() -> None:
    replicas = Replicas()
    replicas.break_down()
    await replicas.round()
    assert replicas.may_ask() == [False, True]

    await replicas.round()

    assert replicas.may_ask() == [False, False]


async def test_without_the_board_each_goes_by_what_it_found(replicas: Replicas) -> None:
    replicas.break_down()
    await replicas.round()
    replicas.board.away = True
    keeping = [asyncio.ensure_future(sharing.keep()) for sharing in replicas.sharing]
    await asyncio.sleep(0.05)

    replicas.clock.advance(5)

    assert replicas.may_ask() == [True, True]
    assert replicas.journal.of(Unexpected) == []
    for task in keeping:
        task.cancel()


async def test_a_board_that_breaks_is_told_of_and_looked_at_again(replicas: Replicas) -> None:
    replicas.board.fail("exchange", error=ValueError("not a board"))  # type: ignore[arg-type]
    keeping = asyncio.ensure_future(replicas.sharing[0].keep())
    await asyncio.sleep(3)
    keeping.cancel()

    assert len(replicas.journal.of(Unexpected)) == 1
    assert replicas.board.calls["exchange"] > 1


# --- what operators do ------------------------------------------------------------------------------------------------


async def test_who_is_drained_on_one_replica_is_asked_by_none_until_it_is_undrained(replicas: Replicas) -> None:
    operator = Targets(replicas.health[0])
    (view,) = operator.all()

    operator.drain(view.id)
    await replicas.round()
    await replicas.round()
    drained = replicas.may_ask()
    operator.undrain(view.id)
    await replicas.round()
    await replicas.round()

    assert (drained, replicas.may_ask()) == ([False, False], [True, True])


async def test_the_only_one_is_asked_even_drained(replicas: Replicas) -> None:
    operator = Targets(replicas.health[0])
    operator.drain(ONE.id)

    assert replicas.health[0].last_resort([ONE]) == ONE
    replicas.break_down(TWO)
    assert replicas.health[0].last_resort([ONE, TWO]) == TWO


async def test_an_operator_sees_how_a_target_is(replicas: Replicas) -> None:
    health, targets = replicas.health[0], Targets(replicas.health[0])
    visit = health.visit(ONE)
    replicas.clock.advance(0.5)
    visit.answered(first_token=True)

    view = targets.get(ONE.id)

    assert (view.provider, view.model, view.state, view.rests, view.error_rate) == ("openai", "one", "closed", 0.0, 0.0)
    assert (view.running, view.waiting, view.asked) == (1, 0, 1)
    assert view.seconds is None
    assert view.first_token_seconds == pytest.approx(0.5)
    visit.leave()
    replicas.break_down()
    view = targets.get(ONE.id)
    assert (view.state, view.running) == ("open", 0)
    assert view.rests == pytest.approx(5.0)


async def test_an_operator_hurries_a_target_whose_next_failure_opens_it_again(replicas: Replicas) -> None:
    targets = Targets(replicas.health[0])
    replicas.break_down()

    targets.probe(ONE.id)

    assert replicas.may_ask() == [True, True]
    visit = replicas.health[0].visit(ONE)
    visit.failed(ProviderTimeout())
    visit.leave()
    assert replicas.may_ask() == [False, True]


@pytest.mark.parametrize("verb", ["get", "drain", "undrain", "probe"])
def test_a_target_that_was_never_asked_is_unknown(replicas: Replicas, verb: str) -> None:
    with pytest.raises(UnknownTarget):
        getattr(Targets(replicas.health[0]), verb)("openai:0:gpt-9")


async def test_a_board_that_does_not_answer_leaves_what_is_known(replicas: Replicas) -> None:
    replicas.break_down()
    replicas.board.fail("exchange")

    with pytest.raises(StoreUnavailable):
        await replicas.sharing[0].round()

    assert replicas.may_ask() == [False, True]
