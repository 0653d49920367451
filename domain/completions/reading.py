"""Reading a run that another process produces, or that has ended: its log in the store becomes a tail here."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from domain.completions.assembly import as_chunks
from domain.completions.production import RunLimits
from domain.completions.tail import Tail
from domain.errors import (
    GenerationInterrupted,
    InternalError,
    SluiceError,
    StoreUnavailable,
    StreamExpired,
    UnknownCompletion,
)
from domain.ports import Clock, RunStore
from domain.runs import Cursor, Ending, Run, RunError, Status, is_terminal, require_place

#: Seconds between two looks at a log that somebody else writes.
_POLL = 0.1


@dataclass(slots=True)
class _Shared:
    """One tail for all readers of a run in this process, and the task that fills it."""

    tail: Tail
    filler: "asyncio.Task[None]"
    readers: int = field(default=0)


class Reading:
    """Tails of runs that are not produced here. However many read a run, one task asks the store for it."""

    def __init__(self, store: RunStore, clock: Clock, limits: RunLimits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._shared: dict[str, _Shared] = {}

    @asynccontextmanager
    async def following(self, run: Run, cursor: Cursor) -> AsyncGenerator[Tail, None]:
        """The run's tail, filled while anybody reads it.

        Raises:
            GenerationRestarted, CursorAhead, StreamExpired: the cursor's place is not to be had.
        """
        shared = self._shared.get(run.id)
        if shared is None:
            tail = await self._load(run)
            # Another reader may have come while the log was being read.
            shared = self._shared.get(run.id) or self._share(tail)
        shared.readers += 1
        try:
            require_place(_newer(run, shared.tail), cursor)
            yield shared.tail
        finally:
            shared.readers -= 1
            if not shared.readers:
                shared.filler.cancel()
                self._shared.pop(run.id, None)

    def _share(self, tail: Tail) -> _Shared:
        shared = _Shared(tail, asyncio.ensure_future(self._fill(tail)))
        self._shared[tail.run.id] = shared
        return shared

    async def _load(self, run: Run) -> Tail:
        tail = Tail(run)
        await self._catch_up(tail)
        return tail

    async def _fill(self, tail: Tail) -> None:
        until = tail.run.created + self._limits.queue_seconds + self._limits.total_seconds + self._limits.store_grace
        while tail.ending is None:
            await asyncio.sleep(_POLL)
            try:
                await self._catch_up(tail)
            except StoreUnavailable:
                # Silence is what a reader sees of it: keep-alives, then the exact rest.
                pass
            except SluiceError as error:
                _give_up(tail, error)
            except Exception:  # noqa: BLE001 - a record that cannot be read: whoever follows it must be told
                _give_up(tail, InternalError())
            if self._clock() > until:
                # Its producer is gone without a word; a reader must not wait for ever.
                _give_up(tail, GenerationInterrupted())

    async def _catch_up(self, tail: Tail) -> None:
        """Read what the log has beyond the tail; close the tail when the run has ended and nothing is left to read.

        Raises:
            UnknownCompletion: the run's record lapsed.
            StreamExpired: its log did.
        """
        while True:
            part = await self._store.read(tail.run.id, len(tail.entries))
            if part is None:
                raise UnknownCompletion
            tail.run = part.run
            if not part.entries:
                break
            tail.extend(part.entries)
        if is_terminal(tail.run.status) and tail.ending is None:
            await self._close(tail, tail.run)

    async def _close(self, tail: Tail, run: Run) -> None:
        if len(tail.entries) < run.tail:
            raise StreamExpired
        if run.status is Status.COMPLETED and not tail.entries:
            # An answer that did not come as a stream has no log: its chunks are made of it.
            completion = await self._store.result(run.id)
            tail.extend(as_chunks(completion) if completion is not None else ())
        tail.close(run, Ending(run.status, usage=run.usage, charged=run.charged or 0, error=run.error))


def _newer(run: Run, tail: Tail) -> Run:
    """What is known of a run: a shared tail lags behind the log, and so, at times, behind its readers' cursors."""
    known = replace(tail.run, tail=len(tail.entries))
    return max(run, known, key=lambda it: (it.attempt, is_terminal(it.status), it.tail))


def _give_up(tail: Tail, error: SluiceError) -> None:
    failure = RunError.of(error)
    tail.close(replace(tail.run, status=Status.FAILED, error=failure), Ending(Status.FAILED, error=failure))
