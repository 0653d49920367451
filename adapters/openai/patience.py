"""A timeout for the many short waits of one stream."""

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """What ``asyncio.timeout_at`` does, for one wait after the other, on a single timer.

    The timer is moved only when it goes off: setting one for each read takes about as long as reading and translating
    the chunk (11 of 53 microseconds). Between two waits nobody is cancelled, so that whoever is given the chunks may
    take as long as it likes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._end = 0.0
        self._cancelling = 0
        self._is_lost = False

    def until(self, end: float) -> Self:
        """``with patience.until(end)`` raises TimeoutError where its body still waits then; in the loop's time."""
        self._end = end
        if self._timer is None or self._timer.when() > end:
            self._set(end)
        return self

    def close(self) -> None:
        """Leave nothing behind in the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        lost, self._is_lost = self._is_lost, False
        # As asyncio.timeout has it: where somebody else cancels the task too, the cancellation goes on upward.
        if lost and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set(self, when: float) -> None:
        self.close()
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        # Nobody waits, and the next who does will set it; somebody waits for a later end; somebody has waited enough.
        if self._task is None:
            return
        if self._loop.time() < self._end:
            self._set(self._end)
        else:
            self._is_lost = True
            self._task.cancel()
