"""Doubles of the outside world that do as they are told, for tests of what stands behind a port."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

from domain.chat import Chunk, Completion
from domain.errors import SluiceError, StoreUnavailable
from domain.facts import Fact
from domain.ports import Call
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
    """

    def __init__(self, *script: Step) -> None:
        self.script: tuple[Step, ...] = script
        self.calls: list[Call] = []
        self.asked = asyncio.Event()
        self.open = 0
        self.most_open = 0

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
                await step.wait()
            case BaseException():
                raise step
            case _:
                raise AssertionError(f"no step for this call: {step!r}")


class FlakyStore(Generic[P]):
    """Stands before any port and lets its calls fail, hang or lose their replies, by the name of the method.

    ``port`` is what to hand to whoever uses the port; ``calls`` counts the calls that were made.
    """

    def __init__(self, wrapped: P) -> None:
        self.wrapped = wrapped
        self.calls: Counter[str] = Counter()
        self._before: dict[str, list[SluiceError]] = {}
        self._after: dict[str, int] = {}
        self._gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    @property
    def port(self) -> P:
        return cast(P, _Port(self))

    def fail(self, method: str, times: int = 1, error: SluiceError | None = None) -> None:
        """Let the next calls fail before they have done anything."""
        self._before[method] = [error or StoreUnavailable()] * times

    def lose_replies(self, method: str, times: int = 1) -> None:
        """Let the next calls do their work and fail afterwards."""
        self._after[method] = times

    def hold_up(self, method: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Two events: one is set when a call has arrived, the other one lets it, and all later ones, through."""
        self._gates[method] = asyncio.Event(), asyncio.Event()
        return self._gates[method]

    async def call(self, method: str, work: Callable[[], Awaitable[object]]) -> object:
        self.calls[method] += 1
        if method in self._gates:
            arrived, released = self._gates[method]
            arrived.set()
            await released.wait()
        if self._before.get(method):
            raise self._before[method].pop()
        answer = await work()
        if self._after.get(method):
            self._after[method] -= 1
            raise StoreUnavailable
        return answer


class _Port:
    """The methods of the wrapped port."""

    def __init__(self, flaky: FlakyStore[Any]) -> None:
        self._flaky = flaky

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        work = getattr(self._flaky.wrapped, method)

        def call(*arguments: Any, **named: Any) -> Awaitable[object]:
            return self._flaky.call(method, lambda: work(*arguments, **named))

        return call
