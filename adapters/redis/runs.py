"""Records and logs of runs in Redis. A run's keys lie in its shard, so that each verb is one script in one slot."""

from collections.abc import Sequence

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import RunKeys
from adapters.redis.records import completion_of, ending_words, paired, record_of, run_of
from adapters.redis.scripts import script
from domain.chat import Completion
from domain.ids import is_id
from domain.runs import NEXT, Ending, LogSlice, Run, Status
from domain.tenants import TenantId, UserId


class RedisRunStore:
    """A run store in which everything lapses by itself.

    ``log_kept`` is how long a log is readable after its run has ended; ``kept`` is the same for record and result, and
    how long a run lasts that nobody writes to. Both are in seconds.
    """

    def __init__(self, connection: RedisConnection, *, log_kept: float = 900.0, kept: float = 86_400.0) -> None:
        self._connection = connection
        self._log_kept_ms = round(log_kept * 1000)
        self._kept_ms = round(kept * 1000)

    async def begin(self, run: Run) -> None:
        pointer = keys.conversation_of(run)
        touched = [RunKeys.of(run.id).record] + ([pointer] if pointer is not None else [])
        # The pointer outlives the record, whose time begins again with each write.
        words = [self._kept_ms, 2 * self._kept_ms, run.id, *record_of(run)]
        await self._connection.run(script("runs/begin"), touched, words)

    async def claim(self, run_id: str) -> Run | None:
        record = await self._connection.run(script("runs/claim"), [RunKeys.of(run_id).record], [self._kept_ms])
        return run_of(paired(record)) if record else None

    async def append(
        self, run_id: str, attempt: int, base: int, entries: Sequence[bytes], ending: Ending | None = None
    ) -> bool:
        at = RunKeys.of(run_id)
        log_ms = self._kept_ms if ending is None else self._log_kept_ms
        words = [attempt, base, self._kept_ms, log_ms, _states_before(ending), *ending_words(ending), *entries]
        return bool(await self._connection.run(script("runs/append"), [at.record, at.log, at.result], words))

    async def get(self, run_id: str) -> Run | None:
        record = await self._connection.command("HGETALL", RunKeys.of(run_id).record)
        return run_of(record) if record else None

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


def _states_before(ending: Ending | None) -> str:
    """The states in which a run takes entries, or this ending."""
    if ending is None:
        return Status.IN_PROGRESS.value
    return " ".join(state.value for state in Status if ending.status in NEXT[state])
