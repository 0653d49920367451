"""Providers that play their parts one after the other, in virtual time, and whoever asks them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import anyio

from domain.chat import Chunk, Completion
from domain.completions.asking import Asking
from domain.completions.assembly import Assembly
from domain.completions.attempts import Attempts
from domain.completions.bulkheads import Berths
from domain.completions.health import Health
from domain.ports import Call
from domain.providers import Target
from domain.routing import Route
from tests.builders import a_model, a_run, a_target
from tests.fakes import ListJournal, LoopClock, ScriptedProvider, Step, WordTokenizer

ONE, TWO, THREE = (a_target(sent_model=name, model=a_model(name=name)) for name in ("one", "two", "three"))
Script: TypeAlias = Sequence[Step]


class Cast:
    """A provider for each target; each plays its scripts one after the other, and the last one for ever."""

    def __init__(self, **scripts: Sequence[Script]) -> None:
        self._scripts = {name: [*played] for name, played in scripts.items()}
        self.asked: list[tuple[str, float]] = []
        self.calls: list[Call] = []

    def play(self, call: Call) -> ScriptedProvider:
        """Who plays this call."""
        self.asked.append((call.target.sent_model, asyncio.get_running_loop().time()))
        self.calls.append(call)
        left = self._scripts[call.target.sent_model]
        return ScriptedProvider(*(left.pop(0) if len(left) > 1 else left[0]))

    async def create_chat_completion(self, call: Call) -> Completion:
        return await self.play(call).create_chat_completion(call)

    def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        return self.play(call).stream_chat_completion(call)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


class Stage:
    """Attempts at a cast, in virtual time. ``draw`` is what every pause is drawn with."""

    def __init__(self, cast: Cast, *, draw: float = 1.0, berths: Berths | None = None) -> None:
        self.cast = cast
        self.journal = ListJournal()
        self.health = Health(LoopClock(), self.journal, lambda: draw, berths=berths or Berths())
        self.attempts = Attempts(cast, WordTokenizer(), self.health, self.journal, lambda: draw)

    def asking(self, *targets: Target, seconds: float = 600.0, **changes: Any) -> Asking:
        route = replace(Route(targets[0], targets), **changes)
        return Asking(a_run(), route, Call(targets[0], {"messages": []}, "req-1", seconds), Assembly())

    async def stream(self, asking: Asking) -> list[Chunk]:
        """What is given out; it is there even where an error follows it, as ``asking.heard``."""
        given: list[Chunk] = []
        with anyio.fail_after(3_600):
            async for chunks in self.attempts.stream(asking):
                for chunk in chunks:
                    asking.heard.add(chunk)
                given += chunks
        return given

    async def whole(self, asking: Asking) -> Completion:
        with anyio.fail_after(3_600):
            return await self.attempts.whole(asking)
