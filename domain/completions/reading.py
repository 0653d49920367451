"""Reading a run that another process executes, or that has ended: its log in the store becomes a tail here."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from domain.completions.assembly import as_chunks
from domain.completions.production import RunLimits
from domain.completions.tail import Tail
from domain.errors import (
    GenerationRestarted,
    InternalError,
    SluiceError,
    StoreUnavailable,
    StreamExpired,
    UnknownCompletion,
)
from domain.ports import Doorbell, RunStore
from domain.runs import Cursor, Ending, LogSlice, Run, RunError, Status, is_terminal, require_place

#: Seconds between two looks at a log that somebody else writes, if no bell rings.
_POLL = 1.0
#: The same for the first look, as the bell may not hang yet.
_FIRST_POLL = 0.05


@dataclass(slots=True)
class _Shared:
    """One tail for all readers of a run in this process, and the task that fills it."""

    tail: Tail
    filler: "asyncio.Task[None]"


class Reading:
    """Tails of runs that are not executed here. However many read a run, one task asks the store for it."""

    def __init__(self, store: RunStore, doorbell: Doorbell, limits: RunLimits) -> None:
        self._store = store
        self._doorbell = doorbell
        self._limits = limits
        self._shared: dict[str, _Shared] = {}
        #: Tasks that fill tails which nobody joins any more.
        self._besides: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def following(self, run: Run, cursor: Cursor) -> AsyncGenerator[Tail, None]:
        """The tail of the log that holds the run's answer, filled while anybody reads it.

        Raises:
            GenerationRestarted, CursorAhead, StreamExpired: the cursor's place is not to be had.
        """
        if run.replayed:
            tail = await self._replay(run)
            require_place(replace(run, tail=len(tail.entries)), cursor)
            yield tail
            return
        shared = self._shared.get(run.log_id)
        if shared is None:
            tail = await self._load(run)
            # Another reader may have come while the log was being read.
            shared = self._shared.get(run.log_id) or self._share(run.log_id, tail)
        with shared.tail.read() as tail:
            try:
                require_place(_newer(run, tail), cursor)
                yield tail
            finally:
                if tail.readers == 1:
                    self._dismiss(run.log_id, tail)

    def take_over(self, log_id: str, tail: Tail) -> None:
        """Fill a tail from now on that has been filled here by the run's owner, who lost it."""
        if not tail.readers:
            return
        if log_id not in self._shared:
            self._share(log_id, tail)
            return
        # Some read it from before it was executed here, and have a tail of their own.
        filler = asyncio.ensure_future(self._fill(log_id, tail))
        self._besides.add(filler)
        filler.add_done_callback(self._besides.discard)

    # --- one tail for all -------------------------------------------------------------------------------------

    def _share(self, log_id: str, tail: Tail) -> _Shared:
        shared = _Shared(tail, asyncio.ensure_future(self._fill(log_id, tail)))
        self._shared[log_id] = shared
        return shared

    def _dismiss(self, log_id: str, tail: Tail) -> None:
        shared = self._shared.get(log_id)
        if shared is not None and shared.tail is tail:
            del self._shared[log_id]
            shared.filler.cancel()

    async def _fill(self, log_id: str, tail: Tail) -> None:
        rung = asyncio.Event()

        def ring(_: str) -> None:
            rung.set()

        self._doorbell.subscribe(log_id, ring)
        try:
            await self._keep_up(log_id, tail, rung)
        finally:
            self._doorbell.unsubscribe(log_id, ring)
            if not tail.readers:
                self._dismiss(log_id, tail)

    async def _keep_up(self, log_id: str, tail: Tail, rung: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        pause = _FIRST_POLL
        while tail.ending is None and tail.readers:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await rung.wait()
            rung.clear()
            pause = _POLL
            try:
                await self._catch_up(log_id, tail)
                await self._attend(tail)
                heard = loop.time()
            except StoreUnavailable as error:
                # Silence is what a reader sees of it: keep-alives, then the exact rest. But not for ever.
                if loop.time() - heard > self._limits.store_grace + self._limits.lease_seconds:
                    self._give_up(log_id, tail, error)
            except SluiceError as error:
                self._give_up(log_id, tail, error)
            except Exception:  # noqa: BLE001 - a record that cannot be read: whoever follows it must be told
                self._give_up(log_id, tail, InternalError())

    async def _attend(self, tail: Tail) -> None:
        """Let the run's owner, wherever it is, know that somebody reads here."""
        if tail.run.detach_grace is not None:
            await self._store.attend(tail.run.id, tail.run.detach_grace + 2 * _POLL)

    def _give_up(self, log_id: str, tail: Tail, error: SluiceError) -> None:
        failure = RunError.of(error)
        tail.close(replace(tail.run, status=Status.FAILED, error=failure), Ending(Status.FAILED, error=failure))
        # Whoever comes now is told what holds then.
        self._dismiss(log_id, tail)

    # --- the log ----------------------------------------------------------------------------------------------

    async def _load(self, run: Run) -> Tail:
        tail = Tail(run if run.source is None else replace(run, id=run.source, source=None))
        await self._catch_up(run.log_id, tail)
        return tail

    async def _catch_up(self, log_id: str, tail: Tail) -> None:
        """Read what the log has beyond the tail; close the tail when the run has ended and nothing is left to read.

        Raises:
            UnknownCompletion: the run's record lapsed.
            StreamExpired: its log did.
            GenerationRestarted: what the tail has belongs to an earlier attempt.
        """
        while True:
            part = await self._store.read(log_id, len(tail.entries))
            if part is None:
                raise UnknownCompletion
            if tail.entries and _has_begun_again(part, tail.run):
                raise GenerationRestarted
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

    async def _replay(self, run: Run) -> Tail:
        """A view of an answer that had ended before: its chunks are made of its result."""
        completion = await self._store.result(run.log_id)
        if completion is None:
            raise StreamExpired
        tail = Tail(run)
        tail.extend(as_chunks(completion))
        tail.close(run, Ending(run.status, completion, run.usage, run.charged or 0))
        return tail


def _has_begun_again(part: LogSlice, known: Run) -> bool:
    begun = (part.run.attempt, part.run.begun) != (known.attempt, known.begun)
    return begun or part.run.status is Status.QUEUED


def _newer(run: Run, tail: Tail) -> Run:
    """What is known of a run: a shared tail lags behind the log, and so, at times, behind its readers' cursors."""
    known = replace(tail.run, tail=len(tail.entries))
    return max(run, known, key=lambda it: (it.attempt, is_terminal(it.status), it.tail))
