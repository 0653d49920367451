"""Records and logs of runs, in this process."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from adapters.memory.lapsing import Lapsing
from domain.chat import Completion
from domain.ports import Clock
from domain.runs import NEXT, Ending, LogSlice, Run, Status, ended
from domain.tenants import TenantId, UserId


class MemoryRunStore:
    """A run store by this process's clock.

    ``log_kept`` is how long a log is readable after its run has ended; ``kept`` is the same for record and result, and
    how long a run lasts that nobody writes to. Both are in seconds.
    """

    def __init__(self, clock: Clock, *, log_kept: float = 900.0, kept: float = 86_400.0) -> None:
        self._log_kept = log_kept
        self._kept = kept
        self._records: Lapsing[str, Run] = Lapsing(clock)
        self._logs: Lapsing[str, list[bytes]] = Lapsing(clock)
        self._results: Lapsing[str, Completion] = Lapsing(clock)
        self._latest: Lapsing[tuple[TenantId, UserId, str], str] = Lapsing(clock)

    async def begin(self, run: Run) -> None:
        if self._records.get(run.id) is not None:
            return
        self._records.put(run.id, deepcopy(run), self._kept)
        if run.conversation is not None:
            # The pointer outlives the record, whose time begins again with each write.
            self._latest.put((run.tenant, run.user, run.conversation), run.id, 2 * self._kept)

    async def claim(self, run_id: str) -> Run | None:
        run = self._records.get(run_id)
        if run is None or run.status is not Status.QUEUED:
            return None
        claimed = replace(run, status=Status.IN_PROGRESS)
        self._records.put(run_id, claimed, self._kept)
        return deepcopy(claimed)

    async def append(
        self, run_id: str, attempt: int, base: int, entries: Sequence[bytes], ending: Ending | None = None
    ) -> bool:
        run = self._records.get(run_id)
        if run is None or run.attempt != attempt or base > run.tail:
            return False
        new = entries[run.tail - base :]
        if ending is None:
            return run.status is Status.IN_PROGRESS and self._write(run, new)
        if ending.status in NEXT[run.status]:
            return self._write(ended(run, deepcopy(ending)), new, ending)
        # A repeated ending brings nothing new.
        return run == ended(run, deepcopy(ending)) and not new

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

    def _write(self, run: Run, entries: Sequence[bytes], ending: Ending | None = None) -> bool:
        log = self._logs.get(run.id) or []
        log.extend(entries)
        self._records.put(run.id, replace(run, tail=run.tail + len(entries)), self._kept)
        self._logs.put(run.id, log, self._kept if ending is None else self._log_kept)
        if ending is not None and ending.completion is not None:
            self._results.put(run.id, deepcopy(ending.completion), self._kept)
        return True
