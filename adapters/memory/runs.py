"""Records and logs of runs, their queue and their leases, in this process."""

from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from adapters.memory.doorbell import MemoryDoorbell
from adapters.memory.lapsing import Lapsing
from adapters.memory.queue import FairQueue
from domain.chat import Completion
from domain.errors import CompletionShared
from domain.ports import CANCELS, JOBS, Clock
from domain.runs import (
    NEXT,
    Answered,
    Appended,
    Claim,
    Ending,
    LogSlice,
    Run,
    Standing,
    Status,
    Survey,
    Work,
    answered,
    begun_again,
    claimed,
    ended,
    is_terminal,
    shard_of,
)
from domain.tenants import TenantId, UserId

#: The most overdue runs that one survey names.
_FEW = 100


class MemoryRunStore:
    """A run store by this process's clock.

    ``lease`` is how long an owner may be silent, ``queue`` how long a run may wait for its turn. ``log_kept`` is how
    long a log is readable after its run has ended; ``kept`` is the same for record and result, and how long a run
    lasts that nobody writes to. All are in seconds.
    """

    def __init__(
        self,
        clock: Clock,
        bell: MemoryDoorbell | None = None,
        *,
        lease: float = 10.0,
        queue: float = 600.0,
        log_kept: float = 900.0,
        kept: float = 86_400.0,
    ) -> None:
        self._clock = clock
        self._bell = bell or MemoryDoorbell()
        self._lease = lease
        self._queue = queue
        self._log_kept = log_kept
        self._kept = kept
        self._records: Lapsing[str, Run] = Lapsing(clock)
        self._work: Lapsing[str, Work] = Lapsing(clock)
        self._logs: Lapsing[str, list[bytes]] = Lapsing(clock)
        self._results: Lapsing[str, Completion] = Lapsing(clock)
        self._latest: Lapsing[tuple[TenantId, UserId, str], str] = Lapsing(clock)
        self._attended: Lapsing[str, bool] = Lapsing(clock)
        self._workers: Lapsing[str, int] = Lapsing(clock)
        self._queues: defaultdict[int, FairQueue] = defaultdict(FairQueue)
        #: When a run is overdue, by shard.
        self._due: defaultdict[int, dict[str, float]] = defaultdict(dict)

    # --- beginning ------------------------------------------------------------------------------------------------

    async def begin(self, run: Run, work: Work | None = None) -> None:
        if self._records.get(run.id) is not None:
            return
        self._records.put(run.id, deepcopy(run), self._kept)
        if run.conversation is not None:
            # The pointer outlives the record, whose time begins again with each write.
            self._latest.put((run.tenant, run.user, run.conversation), run.id, 2 * self._kept)
        if work is None:
            return
        self._work.put(run.id, deepcopy(work), self._kept)
        if run.status is Status.QUEUED:
            self._queues[shard_of(run.id)].join(run.id, run.tenant)
            self._set_due(run.id, self._queue)
            self._bell.ring(JOBS, str(shard_of(run.id)))
        else:
            self._set_due(run.id, self._lease)

    async def take(self, shard: int) -> Claim | None:
        while (run_id := self._queues[shard].first()) is not None:
            run = self._records.get(run_id)
            if run is not None and run.status is Status.QUEUED:
                return self._claim(claimed(run))
            self._due[shard].pop(run_id, None)
        return None

    # --- owning ---------------------------------------------------------------------------------------------------

    async def append(
        self,
        run_id: str,
        fence: int,
        base: int,
        entries: Sequence[bytes],
        ending: Ending | None = None,
        by: Answered | None = None,
    ) -> Appended:
        run = self._records.get(run_id)
        if run is None:
            return Appended(Standing.UNKNOWN)
        if run.fence != fence:
            return Appended(Standing.LOST, run.tail)
        if base > run.tail:
            return Appended(Standing.BEHIND, run.tail)
        owned = Standing.CANCELLING if run.cancelling else Standing.OWNED
        new = entries[run.tail - base :]
        possible = run.status is Status.IN_PROGRESS if ending is None else ending.status in NEXT[run.status]
        if not possible:
            # A repeated ending brings nothing new.
            repeated = ending is not None and run == ended(run, ending) and not new
            return Appended(owned if repeated else Standing.LOST, run.tail)
        run = run if by is None else answered(run, by)
        self._write(run if ending is None else ended(run, deepcopy(ending)), new, ending)
        return Appended(owned, run.tail + len(new))

    async def seize(self, run_id: str) -> Claim | None:
        if not self._is_overdue(run_id):
            return None
        self._queues[shard_of(run_id)].leave(run_id)
        run = self._records.get(run_id)
        if run is None:
            self._due[shard_of(run_id)].pop(run_id)
            return None
        return self._claim(replace(run, fence=run.fence + 1))

    async def requeue(self, run_id: str, fence: int) -> bool:
        run = self._records.get(run_id)
        if run is None or run.fence != fence or is_terminal(run.status):
            return False
        queue = self._queues[shard_of(run_id)]
        if run_id in queue:
            return True
        queue.rejoin(run_id)
        self._records.put(run_id, begun_again(run), self._kept)
        self._logs.pop(run_id)
        self._set_due(run_id, self._queue)
        self._bell.ring(JOBS, str(shard_of(run_id)))
        self._bell.ring(run_id)
        return True

    async def cancel(self, run_id: str) -> Claim | None:
        run = self._records.get(run_id)
        if run is None or is_terminal(run.status):
            return None
        if run.followers:
            raise CompletionShared
        cancelled = replace(run, cancelling=True)
        self._records.put(run_id, cancelled, self._kept)
        self._bell.ring(CANCELS, run_id)
        if run.status is not Status.QUEUED:
            return None
        self._queues[shard_of(run_id)].leave(run_id)
        return self._claim(replace(cancelled, status=Status.IN_PROGRESS, fence=run.fence + 1))

    async def join(self, run_id: str) -> Run | None:
        run = self._records.get(run_id)
        if run is None:
            return None
        joined = replace(run, followers=run.followers + 1)
        self._records.put(run_id, joined, self._kept)
        result = self._results.get(run_id)
        if result is not None:
            self._results.put(run_id, result, self._kept)
        return deepcopy(joined)

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, run_id: str) -> Run | None:
        return deepcopy(self._records.get(run_id))

    async def latest(self, tenant: TenantId, user: UserId, conversation: str) -> str | None:
        return self._latest.get((tenant, user, conversation))

    async def read(self, run_id: str, after: int, limit: int = 1000) -> LogSlice | None:
        run = self._records.get(run_id)
        if run is None:
            return None
        return LogSlice(deepcopy(run), tuple((self._logs.get(run_id) or ())[after : after + limit]))

    async def result(self, run_id: str) -> Completion | None:
        return deepcopy(self._results.get(run_id))

    # --- looking after --------------------------------------------------------------------------------------------

    async def survey(self, shard: int) -> Survey:
        now = self._clock()
        overdue = sorted((due, run_id) for run_id, due in self._due[shard].items() if due <= now)
        queue = self._queues[shard]
        return Survey(len(queue), queue.turn, tuple(run_id for _, run_id in overdue[:_FEW]), queue.next)

    async def unfinished(self, shard: int, limit: int) -> Sequence[str]:
        return list(self._due[shard])[:limit]

    async def attend(self, run_id: str, seconds: float) -> None:
        self._attended.put(run_id, True, seconds)

    async def attended(self, run_id: str) -> bool:
        return self._attended.get(run_id) is not None

    async def enlist(self, worker: str, slots: int, seconds: float) -> int:
        self._workers.put(worker, slots, seconds)
        return sum(self._workers.values())

    def _claim(self, run: Run) -> Claim:
        self._records.put(run.id, run, self._kept)
        self._set_due(run.id, self._lease)
        return Claim(deepcopy(run), deepcopy(self._work.get(run.id)))

    def _write(self, run: Run, entries: Sequence[bytes], ending: Ending | None) -> None:
        log = self._logs.get(run.id) or []
        log.extend(entries)
        self._records.put(run.id, replace(run, tail=run.tail + len(entries)), self._kept)
        self._logs.put(run.id, log, self._kept if ending is None else self._log_kept)
        if ending is None:
            self._renew(run.id)
        else:
            self._work.pop(run.id)
            self._due[shard_of(run.id)].pop(run.id, None)
            self._queues[shard_of(run.id)].leave(run.id)
            if ending.completion is not None:
                self._results.put(run.id, deepcopy(ending.completion), self._kept)
        if entries or ending is not None:
            self._bell.ring(run.id)

    def _set_due(self, run_id: str, seconds: float) -> None:
        self._due[shard_of(run_id)][run_id] = self._clock() + seconds

    def _renew(self, run_id: str) -> None:
        """Begin the lease again when a third of it has passed."""
        left = self._due[shard_of(run_id)].get(run_id, 0.0) - self._clock()
        if left * 3 < self._lease * 2:
            self._set_due(run_id, self._lease)

    def _is_overdue(self, run_id: str) -> bool:
        due = self._due[shard_of(run_id)].get(run_id)
        return due is not None and due <= self._clock()
