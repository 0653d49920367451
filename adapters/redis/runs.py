"""Runs, their queue and their leases in Redis. A run's keys lie in its shard: each verb is a script in one slot."""

from collections.abc import Sequence
from typing import Any

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import RunKeys, ShardKeys
from adapters.redis.pipe import Word
from adapters.redis.records import (
    answered_words,
    claim_of,
    completion_of,
    ending_words,
    paired,
    record_of,
    run_of,
    work_text,
)
from adapters.redis.scripts import milliseconds, now, script
from domain.chat import Completion
from domain.errors import CompletionShared
from domain.ids import is_id
from domain.ports import Clock
from domain.runs import NEXT, Answered, Appended, Claim, Ending, LogSlice, Run, Standing, Status, Survey, Work, shard_of
from domain.tenants import TenantId, UserId

#: The most overdue runs that one survey names.
_FEW = 100


class RedisRunStore:
    """A run store by the server's clock, in which everything lapses by itself; a test may give leases another clock.

    ``lease`` is how long an owner may be silent, ``queue`` how long a run may wait for its turn. ``log_kept`` is how
    long a log is readable after its run has ended; ``kept`` is the same for record and result, and how long a run
    lasts that nobody writes to; it is more than any of the others. All are in seconds.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        lease: float = 10.0,
        queue: float = 600.0,
        log_kept: float = 900.0,
        kept: float = 86_400.0,
        clock: Clock | None = None,
    ) -> None:
        self._connection = connection
        self._lease_ms = milliseconds(lease)
        self._queue_ms = milliseconds(queue)
        self._log_kept_ms = milliseconds(log_kept)
        self._kept_ms = milliseconds(kept)
        self._clock = clock

    # --- beginning ------------------------------------------------------------------------------------------------

    async def begin(self, run: Run, work: Work | None = None) -> None:
        at, shard = RunKeys.of(run.id), ShardKeys.of(shard_of(run.id))
        pointer = keys.conversation_of(run)
        touched = [at.record, at.request, shard.ready, shard.turns, shard.leases]
        queued = work is not None and run.status is Status.QUEUED
        words: list[Word] = [now(self._clock), run.id, self._kept_ms]
        # The pointer outlives the record, whose time begins again with each write.
        words.append(2 * self._kept_ms)
        words.append("" if work is None else self._queue_ms if queued else self._lease_ms)
        words += [run.tenant, shard_of(run.id)] if queued else ["", ""]
        words += ["" if work is None else work_text(work), *record_of(run)]
        await self._connection.run(script("runs/begin"), touched + ([pointer] if pointer is not None else []), words)

    async def take(self, shard: int) -> Claim | None:
        at = ShardKeys.of(shard)
        words: list[Word] = [now(self._clock), self._lease_ms, self._kept_ms]
        return claim_of(await self._connection.run(script("runs/take"), [at.ready, at.turns, at.leases], words))

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
        words: list[Word] = [now(self._clock), run_id, *self.append_words(fence, base, entries, ending, by)]
        standing, tail = await self._connection.run(script("runs/append"), appended_keys(run_id, ending), words)
        return Appended(Standing(standing.decode()), tail)

    def append_words(
        self, fence: int, base: int, entries: Sequence[bytes], ending: Ending | None, by: Answered | None
    ) -> Sequence[Word]:
        """Entries, ending and who answers, as scripts take them."""
        before = _states_before(ending)
        lasts = (self._lease_ms, self._kept_ms, self._log_kept_ms)
        return (fence, base, *lasts, before, *ending_words(ending), *answered_words(by), *entries)

    async def seize(self, run_id: str) -> Claim | None:
        return claim_of(await self._take_over("runs/seize", run_id))

    async def requeue(self, run_id: str, fence: int) -> bool:
        at, shard = RunKeys.of(run_id), ShardKeys.of(shard_of(run_id))
        touched = [at.record, at.log, shard.ready, shard.turns, shard.leases]
        words: list[Word] = [now(self._clock), run_id, fence, shard_of(run_id), self._queue_ms, self._kept_ms]
        return bool(await self._connection.run(script("runs/requeue"), touched, words))

    async def cancel(self, run_id: str) -> Claim | None:
        answer = await self._take_over("runs/cancel", run_id)
        if answer == b"shared":
            raise CompletionShared
        return claim_of(answer)

    async def join(self, run_id: str) -> Run | None:
        at = RunKeys.of(run_id)
        record = await self._connection.run(script("runs/join"), [at.record, at.result], [self._kept_ms])
        return run_of(paired(record)) if record is not None else None

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, run_id: str) -> Run | None:
        record = await self._connection.command("HGETALL", RunKeys.of(run_id).record)
        return run_of(paired(record)) if record else None

    async def latest(self, tenant: TenantId, user: UserId, conversation: str) -> str | None:
        if not is_id(conversation):
            return None
        run_id: bytes | None = await self._connection.command("GET", keys.conversation(tenant, user, conversation))
        return run_id.decode() if run_id is not None else None

    async def read(self, run_id: str, after: int, limit: int = 1000) -> LogSlice | None:
        at = RunKeys.of(run_id)
        answer = await self._connection.run(script("runs/read"), [at.record, at.log], [after, limit])
        if answer is None:
            return None
        record, entries = answer
        # A log that lost its beginning is as good as lapsed: a reader must never see a gap.
        whole = entries and entries[0][0].endswith(b"-%d" % (after + 1))
        return LogSlice(run_of(paired(record)), tuple(entry for _, (_, entry) in entries) if whole else ())

    async def result(self, run_id: str) -> Completion | None:
        text = await self._connection.command("GET", RunKeys.of(run_id).result)
        return completion_of(text) if text is not None else None

    # --- looking after --------------------------------------------------------------------------------------------

    async def survey(self, shard: int) -> Survey:
        at = ShardKeys.of(shard)
        words: list[Word] = [now(self._clock), _FEW]
        waiting, turn, first, overdue = await self._connection.run(script("runs/survey"), [at.ready, at.leases], words)
        late = tuple(run_id.decode() for run_id in overdue)
        return Survey(waiting, int(turn), late, first.decode()) if first is not None else Survey(waiting, overdue=late)

    async def unfinished(self, shard: int, limit: int) -> Sequence[str]:
        found = await self._connection.command("ZRANGE", ShardKeys.of(shard).leases, 0, limit - 1)
        return [run_id.decode() for run_id in found]

    async def attend(self, run_id: str, seconds: float) -> None:
        await self._connection.command("SET", RunKeys.of(run_id).attended, 1, "PX", max(milliseconds(seconds), 1))

    async def attended(self, run_id: str) -> bool:
        return bool(await self._connection.command("EXISTS", RunKeys.of(run_id).attended))

    async def enlist(self, worker: str, slots: int, seconds: float) -> int:
        words: list[Word] = [now(self._clock), worker, slots, milliseconds(seconds)]
        return int(await self._connection.run(script("runs/enlist"), [keys.WORKERS], words))

    async def _take_over(self, name: str, run_id: str) -> Any:
        at, shard = RunKeys.of(run_id), ShardKeys.of(shard_of(run_id))
        touched = [at.record, at.request, shard.ready, shard.turns, shard.leases]
        words: list[Word] = [now(self._clock), run_id, self._lease_ms, self._kept_ms]
        return await self._connection.run(script(name), touched, words)


def appended_keys(run_id: str, ending: Ending | None) -> list[str]:
    """The keys that an append touches, as scripts take them."""
    at, shard = RunKeys.of(run_id), ShardKeys.of(shard_of(run_id))
    touched = [at.record, at.log, shard.leases]
    return touched if ending is None else [*touched, at.request, at.result, shard.ready, shard.turns]


def _states_before(ending: Ending | None) -> str:
    """The states in which a run takes entries, or this ending."""
    if ending is None:
        return Status.IN_PROGRESS.value
    return " ".join(state.value for state in Status if ending.status in NEXT[state])
