"""Doubles of the outside world that do as they are told, for tests of what stands behind a port."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from copy import deepcopy
from typing import Any, Generic, TypeAlias, TypeVar, cast

from adapters.memory.doorbell import MemoryDoorbell
from adapters.memory.runs import MemoryRunStore
from domain.chat import Chunk, Completion
from domain.errors import SluiceError, StoreUnavailable
from domain.facts import Fact
from domain.ports import Call, Doorbell, Ring
from tests.builders import NOW

P = TypeVar("P")
F = TypeVar("F")

#: What a provider does next: say chunks together, answer whole, fail, or wait until the event is set.
Step: TypeAlias = Chunk | Sequence[Chunk] | Completion | BaseException | asyncio.Event


class FrozenClock:
    """Time that stands still until it is told to pass. In Unix seconds."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class LoopClock(FrozenClock):
    """Time that passes as the event loop's does, and can be told to pass besides."""

    def __call__(self) -> float:
        try:
            return self.now + asyncio.get_running_loop().time()
        except RuntimeError:
            return self.now


class SeededEntropy:
    """Bytes that look random and are the same in every run of a test."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def __call__(self, count: int) -> bytes:
        return self._random.randbytes(count)


class ListJournal:
    """Keeps the facts in a list."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def record(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


class WordTokenizer:
    """One token a word. While ``gate`` is closed, nothing gets counted."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.vocabularies: list[str] = []

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        self.vocabularies.append(vocabulary)
        self.asked.set()
        await self.gate.wait()
        return sum(len(text.split()) for text in texts)


class ScriptedProvider:
    """A provider that plays a script, from its beginning for every call.

    ``calls`` are the calls so far, ``open`` how many of them are being answered, ``most_open`` the most there were.
    It ``swallows`` so many cancellations, as a library does for which one comes together with a timeout of its own.
    """

    def __init__(self, *script: Step) -> None:
        self.script: tuple[Step, ...] = script
        self.calls: list[Call] = []
        self.asked = asyncio.Event()
        self.open = 0
        self.most_open = 0
        self.swallows = 0

    async def create_chat_completion(self, call: Call) -> Completion:
        self._arrive(call)
        try:
            for step in self.script:
                if isinstance(step, Completion):
                    return step
                await self._play(step)
            raise AssertionError("the script has no completion")
        finally:
            self.open -= 1

    async def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        self._arrive(call)
        try:
            for step in self.script:
                if isinstance(step, Chunk):
                    yield (step,)
                elif isinstance(step, Sequence):
                    yield tuple(step)
                else:
                    await self._play(step)
        finally:
            self.open -= 1

    def _arrive(self, call: Call) -> None:
        self.calls.append(call)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.asked.set()

    async def _play(self, step: Step) -> None:
        match step:
            case asyncio.Event():
                await self._wait(step)
            case BaseException():
                raise step
            case _:
                raise AssertionError(f"no step for this call: {step!r}")

    async def _wait(self, step: asyncio.Event) -> None:
        while not step.is_set():
            try:
                await step.wait()
            except asyncio.CancelledError:
                if not self.swallows:
                    raise
                self.swallows -= 1


class FlakyStore(Generic[P]):
    """Stands before any port and lets its calls fail, hang or lose their replies, by the name of the method.

    ``port`` is what to hand to whoever uses the port; ``calls`` counts the calls that were made. While it is ``away``,
    every call fails before it has done anything. Each call lets others go first, and again before it returns, so many
    times as ``turns`` says.
    """

    def __init__(self, wrapped: P) -> None:
        self.wrapped = wrapped
        self.calls: Counter[str] = Counter()
        self.away = False
        self.turns = 0
        self._before: dict[str, list[SluiceError]] = {}
        self._after: dict[str, int] = {}
        self._gates: dict[tuple[str, bool], tuple[asyncio.Event, asyncio.Event]] = {}

    @property
    def port(self) -> P:
        return cast(P, _Port(self))

    def fail(self, method: str, times: int = 1, error: SluiceError | None = None) -> None:
        """Let the next calls fail before they have done anything."""
        self._before[method] = [error or StoreUnavailable()] * times

    def lose_replies(self, method: str, times: int = 1) -> None:
        """Let the next calls do their work and fail afterwards."""
        self._after[method] = times

    def hold_up(self, method: str, *, reply: bool = False) -> tuple[asyncio.Event, asyncio.Event]:
        """Two events: one is set when a call has arrived, the other one lets it, and all later ones, through.

        With ``reply``, the call does its work, and only its reply is held up.
        """
        self._gates[method, reply] = asyncio.Event(), asyncio.Event()
        return self._gates[method, reply]

    async def call(self, method: str, work: Callable[[], Awaitable[object]]) -> object:
        self.calls[method] += 1
        await self._let_others_go()
        await self._pass_gate(method, reply=False)
        if self.away:
            raise StoreUnavailable
        if self._before.get(method):
            raise self._before[method].pop()
        answer = await work()
        await self._let_others_go()
        await self._pass_gate(method, reply=True)
        if self._after.get(method):
            self._after[method] -= 1
            raise StoreUnavailable
        return answer

    async def _let_others_go(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)

    async def _pass_gate(self, method: str, *, reply: bool) -> None:
        if (method, reply) in self._gates:
            arrived, released = self._gates[method, reply]
            arrived.set()
            await released.wait()


class Process:
    """What stands between one replica and the world: it can be stopped as by SIGSTOP, and killed as by SIGKILL.

    Whatever the replica does, none of it reaches the world then, and nobody in it hears of anything; a call that is
    under way may have been made or not.
    """

    def __init__(self) -> None:
        self._alive = asyncio.Event()
        self._alive.set()

    def stop(self) -> None:
        self._alive.clear()

    def go_on(self) -> None:
        self._alive.set()

    #: Nobody will let it go on.
    kill = stop

    @property
    def is_alive(self) -> bool:
        return self._alive.is_set()

    def port(self, port: P) -> P:
        """The same port, as this process reaches it."""
        return cast(P, _Reached(self, port))

    def bell(self, bell: Doorbell) -> Doorbell:
        return _OneEar(self, bell)

    async def through(self) -> None:
        await self._alive.wait()


class _Reached:
    """The methods of a port, as long as the process lives."""

    def __init__(self, process: Process, port: object) -> None:
        self._process = process
        self._port = port

    def __getattr__(self, method: str) -> Callable[..., Any]:
        work = getattr(self._port, method)

        async def call(*arguments: Any, **named: Any) -> object:
            await self._process.through()
            try:
                answer: object = await work(*arguments, **named)
            except SluiceError:
                await self._process.through()
                raise
            await self._process.through()
            return answer

        async def stream(*arguments: Any) -> AsyncGenerator[object, None]:
            await self._process.through()
            async with aclosing(work(*arguments)) as items:
                async for item in items:
                    await self._process.through()
                    yield item
            await self._process.through()

        def note(*arguments: Any) -> None:
            if self._process.is_alive:
                work(*arguments)

        return {"stream_chat_completion": stream, "record": note}.get(method, call)


class _OneEar:
    """A doorbell that a process hears while it lives."""

    def __init__(self, process: Process, bell: Doorbell) -> None:
        self._process = process
        self._bell = bell
        self._ears: dict[tuple[str, Ring], list[Ring]] = {}

    def subscribe(self, topic: str, ring: Ring) -> None:
        def hear(message: str) -> None:
            if self._process.is_alive:
                ring(message)

        self._ears.setdefault((topic, ring), []).append(hear)
        self._bell.subscribe(topic, hear)

    def unsubscribe(self, topic: str, ring: Ring) -> None:
        ears = self._ears.get((topic, ring))
        if ears:
            self._bell.unsubscribe(topic, ears.pop())


class WaywardDoorbell(MemoryDoorbell):
    """Loses every ring while it is ``broken``, and rings twice while it is ``echoing``."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.echoing = False

    def ring(self, topic: str, message: str = "") -> None:
        for _ in range(0 if self.broken else 2 if self.echoing else 1):
            super().ring(topic, message)


class RestorableRunStore(MemoryRunStore):
    """A store that can be set back to what it was, as by a restart from a snapshot."""

    def snapshot(self) -> "Snapshot":
        return deepcopy(self._state(), self._apart())

    def restore(self, snapshot: "Snapshot") -> None:
        self.__dict__.update(deepcopy(snapshot, self._apart()))

    def _state(self) -> "Snapshot":
        return {name: value for name, value in self.__dict__.items() if name not in ("_clock", "_bell")}

    def _apart(self) -> dict[int, Any]:
        """What is no part of the store's state, wherever it is referred to."""
        return {id(it): it for it in (self._clock, self._bell)}


Snapshot: TypeAlias = dict[str, Any]


class _Port:
    """The methods of the wrapped port."""

    def __init__(self, flaky: FlakyStore[Any]) -> None:
        self._flaky = flaky

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        work = getattr(self._flaky.wrapped, method)

        def call(*arguments: Any, **named: Any) -> Awaitable[object]:
            return self._flaky.call(method, lambda: work(*arguments, **named))

        return call
