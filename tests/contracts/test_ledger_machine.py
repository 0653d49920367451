"""Ledger: whatever is asked of it in whatever order, memory and Redis say and keep what the model does.

That this would find a defect is tested, too: with one of some defects planted, the same steps must fail.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import adapters.memory.ledger
import adapters.redis.ledger
from adapters.memory.ledger import MemoryLedger
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import RedisLedger
from adapters.redis.scripts import Script, script
from domain.errors import InsufficientTokens, SluiceError
from domain.ports import Ledger
from domain.tokens import MAX_TOKENS
from tests.contracts.backends import connected
from tests.contracts.ledger_model import ALICE, Book, Snapshot, memory_snapshot, redis_snapshot
from tests.fakes import FrozenClock
from tests.redis_server import RedisServer

#: Longer than any walk, so that nothing is forgotten on the way; in seconds.
LONG = 1e8

HOLDS = st.sampled_from(["h1", "h2", "h3", "h4"])
OPERATIONS = st.sampled_from(["o1", "o2", "o3"])
FEW = st.integers(1, 60)
SECONDS = st.integers(1, 20_000).map(lambda ms: ms / 1000)
BALANCES = st.integers(-40, 300) | st.sampled_from([0, -MAX_TOKENS, MAX_TOKENS])


@dataclass(frozen=True, slots=True)
class Subject:
    """A ledger under test, and the ways to see what it keeps and to do what an operator does."""

    ledger: Ledger
    snapshot: Callable[[], Awaitable[Snapshot]]
    overwrite: Callable[[int | None], Awaitable[None]]


def in_memory(clock: FrozenClock, kind: type[MemoryLedger] = MemoryLedger) -> Subject:
    ledger = kind(clock, passing=LONG, remembered=LONG)

    async def snapshot() -> Snapshot:
        return memory_snapshot(ledger)

    async def overwrite(balance: int | None) -> None:
        ledger.overwrite(ALICE, balance)

    return Subject(ledger, snapshot, overwrite)


def in_redis(clock: FrozenClock, connection: RedisConnection) -> Subject:
    at = AccountKeys.of(ALICE)

    async def snapshot() -> Snapshot:
        return await redis_snapshot(connection)

    async def overwrite(balance: int | None) -> None:
        await connection.command("DEL", at.balance) if balance is None else await connection.command(
            "SET", at.balance, balance
        )

    return Subject(RedisLedger(connection, passing=LONG, remembered=LONG, clock=clock), snapshot, overwrite)


class LedgerMachine(RuleBasedStateMachine):
    """Asks the model and the subjects the same, and compares what they say and, after each step, what they keep."""

    run: ClassVar[Callable[[Awaitable[Any]], Any]]
    make: ClassVar[Callable[[FrozenClock], Sequence[Subject]]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.book = Book(self.clock)
        self.subjects = type(self).make(self.clock)

    @rule(operation=OPERATIONS, amount=FEW | st.just(MAX_TOKENS))
    def grant(self, operation: str, amount: int) -> None:
        self._ask(lambda: self.book.grant(operation, amount), lambda it: it.grant(ALICE, operation, amount))

    @rule(operation=OPERATIONS, balance=BALANCES)
    def adjust(self, operation: str, balance: int) -> None:
        self._ask(lambda: self.book.adjust(operation, balance), lambda it: it.adjust(ALICE, operation, balance))

    @rule(
        hold_id=HOLDS,
        wanted=FEW,
        least=st.integers(1, 20),
        initial=st.sampled_from([0, 100]),
        seconds=SECONDS,
        lasting=st.booleans(),
    )
    def hold(self, hold_id: str, wanted: int, least: int, initial: int, seconds: float, lasting: bool) -> None:
        self._ask(
            lambda: self.book.hold(hold_id, wanted, least, initial, seconds),
            lambda it: it.hold(
                ALICE, hold_id, wanted=wanted, least=least, initial=initial, seconds=seconds, lasting=lasting
            ),
        )

    @rule(hold_id=HOLDS, beyond=FEW, seconds=SECONDS)
    def hold_more_than_there_is(self, hold_id: str, beyond: int, seconds: float) -> None:
        least = max((self.book.balance or 0) - self.book.held, 0) + beyond
        if least <= MAX_TOKENS:
            self.hold(hold_id, least, least, 0, seconds, lasting=True)

    @precondition(lambda self: self.book.open)
    @rule(data=st.data(), used=st.integers(0, 90), seconds=SECONDS)
    def touch(self, data: st.DataObject, used: int, seconds: float) -> None:
        hold_id = data.draw(st.sampled_from(sorted(self.book.open)))
        self._ask(lambda: self.book.touch(hold_id, used, seconds), lambda it: it.touch(ALICE, hold_id, used, seconds))

    @rule(hold_id=HOLDS, used=FEW, seconds=SECONDS)
    def touch_any(self, hold_id: str, used: int, seconds: float) -> None:
        self._ask(lambda: self.book.touch(hold_id, used, seconds), lambda it: it.touch(ALICE, hold_id, used, seconds))

    @rule(hold_id=HOLDS, costs=st.lists(st.integers(0, 90), min_size=1, max_size=3))
    def settle(self, hold_id: str, costs: Sequence[int]) -> None:
        for cost in costs:
            self._settle(hold_id, cost)

    @rule(hold_id=HOLDS)
    def release(self, hold_id: str) -> None:
        self._ask(lambda: self.book.release(hold_id), lambda it: it.release(ALICE, hold_id))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.book.open)
    @rule(beside=st.integers(-1, 1))
    def time_passes_until_a_hold_lapses(self, beside: int) -> None:
        moment_ms = (self.book.next_lapse_ms() or 0) + beside
        # The middle of a millisecond, so that no rounding leads out of it.
        self.clock.advance(max((moment_ms + 0.5) / 1000 - self.clock(), 0.0))

    @rule(balance=BALANCES | st.none())
    def an_operator_sets_it(self, balance: int | None) -> None:
        self.book.balance = balance
        for subject in self.subjects:
            self._wait(subject.overwrite(balance))

    @rule()
    def available(self) -> None:
        self._ask(self.book.available, lambda it: it.available(ALICE))

    @rule()
    def audit(self) -> None:
        self.book.look()
        for subject in self.subjects:
            assert self._wait(subject.ledger.audit(ALICE)) == ()

    @invariant()
    def all_keep_what_the_model_does(self) -> None:
        book = self.book
        for subject in self.subjects:
            found = self._wait(subject.snapshot())
            assert (found.balance, found.held, found.open) == (book.balance, book.held, book.open)
            assert found.lines == book.lines
            assert (found.known or 0) == (book.known or 0)
            assert found.findings == []
            once = [(entry.kind, entry.operation) for entry in found.entries]
            assert len({entry.id for entry in found.entries}) == len(once)
            # A hold that had lapsed is settled, too: kind and operation together are the only ones.
            assert len(set(once)) == len(once)

    def _settle(self, hold_id: str, cost: int) -> None:
        self._ask(lambda: self.book.settle(hold_id, cost), lambda it: it.settle(ALICE, hold_id, cost))

    def _ask(self, model: Callable[[], object], verb: Callable[[Ledger], Awaitable[object]]) -> None:
        expected = _said(model)
        for subject in self.subjects:
            assert _said(lambda subject=subject: self._wait(verb(subject.ledger))) == expected  # type: ignore[misc]

    def _wait(self, call: Awaitable[Any]) -> Any:
        return type(self).run(call)


def _said(call: Callable[[], object]) -> object:
    """What a call returned, or the refusal and its number."""
    try:
        return call()
    except InsufficientTokens as refusal:
        return refusal.code, refusal.available
    except SluiceError as refusal:
        return refusal.code


class Stage:
    """An event loop, and in it one way to Redis for all walks."""

    def __init__(self, runner: asyncio.Runner, server: RedisServer) -> None:
        self._runner = runner
        self._server = server
        self.connection: RedisConnection | None = None

    def run(self, call: Awaitable[Any]) -> Any:
        async def waiting() -> Any:
            return await call

        # The runner's own way to run it sets up the handling of signals each time, which takes a third of a walk.
        return self._runner.get_loop().run_until_complete(waiting())

    def on_redis(self, clock: FrozenClock) -> Subject:
        assert self.connection is not None
        self._server.command("FLUSHALL")
        return in_redis(clock, self.connection)


@pytest.fixture
def stage(server: RedisServer) -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        stage, opening = Stage(runner, server), connected(server.url)
        stage.connection = runner.run(_enter(opening))
        yield stage
        stage.run(opening.__aexit__(None, None, None))


async def _enter(opening: Any) -> Any:
    return await opening.__aenter__()


def walk(stage: Stage, make: Callable[[FrozenClock], Sequence[Subject]], walks: int, *, shrink: bool = True) -> None:
    """Take so many random walks of up to 40 steps, the same ones each time."""
    machine = type("Machine", (LedgerMachine,), {"run": staticmethod(stage.run), "make": staticmethod(make)})
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=walks,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_walks_in_memory_are_those_of_the_model(stage: Stage) -> None:
    walk(stage, lambda clock: [in_memory(clock)], 200)


@pytest.mark.slow
def test_many_random_walks_in_memory_are_those_of_the_model(stage: Stage) -> None:
    walk(stage, lambda clock: [in_memory(clock)], 2000)


@pytest.mark.parametrize("walks", [30, pytest.param(600, marks=pytest.mark.slow)])
def test_random_walks_in_redis_are_those_of_the_model_and_of_memory(stage: Stage, walks: int) -> None:
    walk(stage, lambda clock: [in_memory(clock), stage.on_redis(clock)], walks)


# --- planted defects ----------------------------------------------------------------------------------------------

#: A passage of the source, and what stands there instead.
Change: TypeAlias = tuple[str, str]

IN_MEMORY: Mapping[str, Sequence[Change]] = {
    "no duplicate check": [("first = self._first(account, book, hold_id)", "first = None")],
    "no clamp of a hold": [("amount = min(wanted, available) if", "amount = wanted if")],
    "no clamp of a lapse": [("charge = min(hold.used, hold.amount)", "charge = hold.used")],
    "early expiry": [("if hold.lapse <= self._now_ms()]", "if hold.lapse <= self._now_ms() + 1]")],
    "release of anything": [("        if closed is not None:\n", "        if closed is not None and False:\n")],
    "late over-charge": [("charge = max(cost - already, 0)", "charge = cost")],
}
IN_LUA: Mapping[str, Sequence[Change]] = {
    "no duplicate check": [("return split(redis.call('HGET', KEYS[2], id)) or read_closed(id)", "return nil")],
    "no clamp of a hold": [("math.min(wanted, (account.balance or initial) - account.held)", "wanted")],
    "no clamp of a lapse": [("charge = math.min(used, amount)", "charge = used")],
    "early expiry": [
        ("if amount and at <= now_ms then", "if amount and at <= now_ms + 1 then"),
        ("account.next_lapse <= now_ms then", "account.next_lapse <= now_ms + 1 then"),
    ],
    "release of anything": [("if amount then\n  -- One that has lapsed", "if false then\n  -- One that has lapsed")],
    "late over-charge": [("local rest = math.max(cost - already, 0)", "local rest = cost")],
}
#: Walks within which each defect must be found.
ENOUGH = 400


def mutated(source: str, changes: Sequence[Change]) -> str:
    """The source with each passage changed, which must be there once."""
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


@pytest.mark.parametrize("defect", IN_MEMORY)
def test_a_defect_planted_in_memory_is_found(stage: Stage, defect: str) -> None:
    source = Path(adapters.memory.ledger.__file__).read_text()
    module = ModuleType("mutant")
    # Dataclasses look their module up.
    with registered(module):
        exec(compile(mutated(source, IN_MEMORY[defect]), "mutant", "exec"), module.__dict__)  # noqa: S102

        with pytest.raises(AssertionError):
            walk(stage, lambda clock: [in_memory(clock, module.MemoryLedger)], ENOUGH, shrink=False)


@contextmanager
def registered(module: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("defect", IN_LUA)
def test_a_defect_planted_in_a_script_is_found(stage: Stage, defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs = ["available", "grant", "adjust", "hold", "touch", "settle", "release", "history", "audit"]
    changed = {f"ledger/{verb}": _mutated_script(f"ledger/{verb}", IN_LUA[defect]) for verb in verbs}
    assert any(changed[name].digest != script(name).digest for name in changed)
    monkeypatch.setattr(adapters.redis.ledger, "script", changed.__getitem__)

    with pytest.raises(AssertionError):
        walk(stage, lambda clock: [stage.on_redis(clock)], ENOUGH, shrink=False)


def _mutated_script(name: str, changes: Sequence[Change]) -> Script:
    """The script with those passages changed that it has."""
    source = script(name).source
    source = mutated(source, [change for change in changes if change[0] in source])
    return Script("probe", source, sha1(source.encode(), usedforsecurity=False).hexdigest())
