"""Writing a run's log. Persist, then deliver: a reader sees what the store has acknowledged, so all readers can.

While the store is away, what the provider says is kept here; afterwards the log goes on exactly where it ended,
even if the store has lost the last of what it had acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from domain.completions.patience import insist
from domain.completions.tail import Tail
from domain.errors import CompletionCancelled, StoreUnavailable
from domain.ledger import Settlement
from domain.ports import RunStore, Till
from domain.runs import Answered, Appended, Ending, Run, Standing, Work

#: Adds entries behind a number, and the ending with them; and who answers, where that is new.
_End: TypeAlias = Callable[[int, Sequence[bytes], Answered | None], Awaitable[Appended]]

#: How often one write may find that the store has lost what it had, before it counts as away.
_REPAIRS = 3


class Superseded(Exception):
    """The run has another owner, or has ended: what this one says no longer counts."""


class LogWriter:
    """The log of one attempt, written by its owner.

    ``grace`` is how many seconds the store may be away before the run gives up. ``written`` is the event loop's time
    of the last write that was acknowledged, which renewed the lease. ``work`` is what the store has of the run's.
    """

    def __init__(self, store: RunStore, run: Run, work: Work | None, tail: Tail, grace: float) -> None:
        self._store = store
        self._run = run
        self.work = work
        self._tail = tail
        self._grace = grace
        #: Everything that was said, since the store may lose what it has.
        self._said: list[bytes] = []
        self._rescue: asyncio.Task[None] | None = None
        self._writing = False
        #: Who answers, once it is known, and what of that the store has acknowledged.
        self.answered: Answered | None = None
        self._told: Answered | None = None
        self.written = asyncio.get_running_loop().time()

    @property
    def owes(self) -> bool:
        """Whether something was said that the store has not acknowledged, so that no reader has seen it."""
        return len(self._said) > len(self._tail.entries)

    async def write(self, entries: Sequence[bytes]) -> None:
        """Add entries. They are in the log when this returns, or will be when the store is back.

        Raises:
            CompletionCancelled: somebody asks for that.
            Superseded: the run is no longer this writer's.
            StoreUnavailable: the store has been away for longer than the grace.
        """
        self._said.extend(entries)
        if self._is_recovering():
            return
        try:
            await self._put()
        except StoreUnavailable:
            self._rescue = asyncio.ensure_future(self._recover())

    async def touch(self) -> None:
        """Renew the lease, unless a write does that anyway; if the store is away, it is for the next time.

        Raises:
            CompletionCancelled, Superseded, StoreUnavailable: as ``write``, of which nobody may know yet.
        """
        if self._is_recovering() or self._writing:
            return
        with suppress(StoreUnavailable):
            await self._put()

    async def is_owner(self) -> bool:
        """Whether the run is still this writer's, as far as the store can tell."""
        try:
            await self._put()
        except Superseded:
            return False
        except (CompletionCancelled, StoreUnavailable):
            return True
        return True

    async def close(self, ending: Ending) -> None:
        """Write the last of the entries and the ending.

        Raises:
            Superseded: the run is no longer this writer's.
            StoreUnavailable: the store has been away for longer than the grace.
        """

        def end(base: int, entries: Sequence[bytes], by: Answered | None) -> Awaitable[Appended]:
            return self._store.append(self._run.id, self._run.fence, base, entries, ending, by)

        await self.abort()
        await insist(lambda: self._put(end), self._grace)

    async def conclude(self, till: Till, settlement: Settlement, ending: Ending) -> int:
        """Write the last of the entries and the ending, and settle what the run cost; what was charged.

        Raises:
            Superseded: the run is no longer this writer's.
            StoreUnavailable: a store is away; either may or may not have happened, and can be done by itself.
        """
        charged = 0

        async def end(base: int, entries: Sequence[bytes], by: Answered | None) -> Appended:
            nonlocal charged
            appended, charged = await till.conclude(settlement, self._run.fence, base, entries, ending, by)
            return appended

        await self.abort()
        await self._put(end)
        return charged

    async def abort(self) -> None:
        """Stop writing; what was not acknowledged is dropped."""
        rescue, self._rescue = self._rescue, None
        if rescue is not None:
            rescue.cancel()
            await asyncio.gather(rescue, return_exceptions=True)

    def _is_recovering(self) -> bool:
        """Whether the store is away, and what was said is written as soon as it is back; raises what came of that."""
        if self._rescue is None or not self._rescue.done():
            return self._rescue is not None
        rescue, self._rescue = self._rescue, None
        rescue.result()
        return False

    async def _recover(self) -> None:
        await insist(self._put, self._grace)
        while self.owes:
            # It was said meanwhile, and maybe nothing more is for a long time.
            await insist(self._put, self._grace)

    async def _put(self, end: _End | None = None) -> None:
        self._writing = True
        try:
            await self._put_from(len(self._tail.entries), end)
        finally:
            self._writing = False

    async def _put_from(self, base: int, end: _End | None) -> None:
        run = self._run
        for _ in range(_REPAIRS):
            entries, by = self._said[base:], self.answered
            news = by if by != self._told else None
            if end is None:
                answer = await self._store.append(run.id, run.fence, base, entries, by=news)
            else:
                answer = await end(base, entries, news)
            match answer.standing:
                case Standing.LOST:
                    raise Superseded
                case Standing.BEHIND:
                    base = answer.tail
                case Standing.UNKNOWN:
                    # Somebody emptied the store. What is known here is enough to go on.
                    await self._store.begin(run, self.work)
                    base, self._told = 0, None
                case Standing.OWNED | Standing.CANCELLING:
                    self._told = by
                    self._acknowledge(base + len(entries))
                    if answer.standing is Standing.CANCELLING and end is None:
                        raise CompletionCancelled
                    return
        raise StoreUnavailable

    def _acknowledge(self, count: int) -> None:
        self.written = asyncio.get_running_loop().time()
        new = self._said[len(self._tail.entries) : count]
        if new:
            self._tail.extend(new)
