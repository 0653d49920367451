"""What the collector of cycles is told when a server starts."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from entrypoints.http.app import App, serve


class Starting:
    """An application that only starts, and does what it was told to do then."""

    ctx = SimpleNamespace(protocol=None)

    def __init__(self) -> None:
        self._listeners: list[Callable[[object], Awaitable[None]]] = []

    def register_listener(self, listener: Callable[[object], Awaitable[None]], event: str) -> None:
        assert event == "before_server_start"
        self._listeners.append(listener)

    def run(self, **_: object) -> None:
        async def start() -> None:
            for listener in self._listeners:
                await listener(self)

        asyncio.run(start())


@pytest.fixture(autouse=True)
def _started() -> Iterator[None]:
    thresholds = gc.get_threshold()
    with socket.socket() as listener:
        serve(cast(App, Starting()), listener)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_a_server_starts_with_is_never_looked_through_again() -> None:
    assert gc.get_freeze_count() > 10_000
    assert not any(each is App for each in gc.get_objects())


def test_what_some_requests_under_way_hold_costs_no_round() -> None:
    rounds: list[str] = []

    def note(phase: str, _: object) -> None:
        rounds.append(phase)

    gc.callbacks.append(note)
    held = [[number] for number in range(5_000)]
    gc.callbacks.remove(note)

    assert (len(held), rounds) == (5_000, [])


def test_a_cycle_that_a_request_leaves_behind_is_freed_in_time() -> None:
    freed: list[bool] = []

    class Left:
        def __del__(self) -> None:
            freed.append(True)

    left = Left()
    left.__dict__["itself"] = left
    del left
    held = [[number] for number in range(15_000)]

    assert (len(held), freed) == (15_000, [True])
