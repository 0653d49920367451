"""An event loop whose time passes only while everybody waits: an hour of waiting takes no time at all."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs what is ready; when nothing is, it is the moment at which the next timer goes off.

    For code that waits for nothing but timers and other tasks. Where nobody can ever go on, it says so.
    """

    def __init__(self) -> None:
        super().__init__(_Impatient(self))
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def end_leftovers(self) -> bool:
        """Cancel what nobody will ever let go on, as the processes that a test killed; False if it is the test."""
        others = [task for task in asyncio.all_tasks(self) if "TestRunner" not in repr(task.get_coro())]
        for task in others:
            task.cancel()
        return bool(others)

    def pass_time(self, seconds: float) -> None:
        self._now += seconds


class _Impatient(selectors.DefaultSelector):
    """A selector that lets the loop's time pass instead of waiting."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None and not self._loop.end_leftovers():
            raise AssertionError("everybody waits for somebody else")
        timeout = timeout or 0.0
        if timeout > 0:
            self._loop.pass_time(timeout)
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return ready


def backend() -> tuple[str, Mapping[str, Any]]:
    """What anyio's plugin needs to run tests in virtual time."""
    return "asyncio", {"loop_factory": VirtualTimeLoop}
