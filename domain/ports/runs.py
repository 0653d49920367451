"""Runs, their names, and the bell that says that there is something new of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from domain.chat import Completion
from domain.runs import Answered, Appended, Claim, Ending, LogSlice, Run, Survey, Work
from domain.tenants import TenantId, UserId


class RunStore(Protocol):
    """Records and logs of runs, the queue of those that wait, and the leases of those that are being executed.

    Who owns a run may write to it, until its lease has lapsed and another took it over; the run's ``fence`` tells the
    two apart. Leases and their lapses are by the store's clock. Whatever is written lapses by itself: a log sooner
    than its record and result, and the work as soon as the run has ended.
    """

    async def begin(self, run: Run, work: Work | None = None) -> None:
        """Keep the record of a new run; it also becomes its conversation's latest, where it has one. Idempotent.

        A run in progress is the caller's, with a lease; a queued one joins the queue, where tenants take turns. Views
        have no work, no lease and no place in the queue.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def take(self, shard: int) -> Claim | None:
        """Claim the run of a shard whose turn it is; None where nobody waits. Of several takers, one gets the run.

        Raises:
            StoreUnavailable: the store did not answer; a run may have been claimed, and is then overdue in a while.
        """
        ...

    async def append(
        self,
        run_id: str,
        fence: int,
        base: int,
        entries: Sequence[bytes],
        ending: Ending | None = None,
        by: Answered | None = None,
    ) -> Appended:
        """Add entries behind number ``base``; with an ``ending``, close the log and keep the result too.

        ``by`` is who answers the run, where that was not known before.

        Atomic. Entries that the log has already are skipped, and an equal ending is accepted again, so a call whose
        reply was lost can be repeated. Every call renews the lease, one without entries does only that; after any of
        them, at least two thirds of it remain.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def seize(self, run_id: str) -> Claim | None:
        """Take over a run that is overdue, as it stands, to settle what becomes of it. Of several callers, one gets it.

        None where it is not overdue (any more).

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def requeue(self, run_id: str, fence: int) -> bool:
        """Let a run wait for its next attempt, before those that have waited less; its log is gone.

        False, and nothing was changed: it is not the caller's. Idempotent.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def cancel(self, run_id: str) -> Claim | None:
        """Tell the run's owner that it is to be cancelled.

        A run that was still waiting is the caller's from then on, who has to end it; else None.

        Raises:
            CompletionShared: others follow the run; it stays as it is.
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def join(self, run_id: str) -> Run | None:
        """Count one more follower, and keep record and result of the run for as long as those of a new one.

        Returns the run as it stands, None where it is not known (any more).

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def get(self, run_id: str) -> Run | None:
        """The record of a run, None where there is none (any more).

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def latest(self, tenant: TenantId, user: UserId, conversation: str) -> str | None:
        """The id of the latest run of a user's conversation.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def read(self, run_id: str, after: int, limit: int = 1000) -> LogSlice | None:
        """Up to ``limit`` entries behind number ``after``, with the record as it stood at that moment; no gaps.

        None where there is no such run. A run whose log has lapsed has a ``tail``, but no entries.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def result(self, run_id: str) -> Completion | None:
        """The finished completion of a run.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def survey(self, shard: int) -> Survey:
        """What waits in a shard, and what is overdue there.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def unfinished(self, shard: int, limit: int) -> Sequence[str]:
        """The ids of runs of a shard that wait or are being executed, of ``limit`` of them at most, in no order.

        Views are not among them. One that has just ended may be.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def attend(self, run_id: str, seconds: float) -> None:
        """Note that somebody reads the run here, for so many seconds.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def attended(self, run_id: str) -> bool:
        """Whether anybody noted that they read the run, and its time is not over.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def enlist(self, worker: str, slots: int, seconds: float) -> int:
        """Note that a worker executes up to ``slots`` queued runs at once, for so many seconds; the slots of all.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """The run that a name stands for, and the fingerprint that was given with it."""

    run_id: str
    fingerprint: str


class RunNames(Protocol):
    """Names of runs other than their ids: what an Idempotency-Key or a cache key stands for.

    A name is 64 hexadecimal digits, which the domain derives from all that it depends on.
    """

    async def adopt(self, name: str, named: Named, seconds: float, *, instead_of: str | None = None) -> Named:
        """Give the name to a run for so many seconds, unless another run has it; who has it after that.

        It may be taken from the run ``instead_of``. Atomic across replicas; idempotent.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def keep(self, name: str, run_id: str, seconds: float) -> None:
        """Let the run have the name for so many seconds from now on, 0 for not at all; nothing if it has not.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...


#: What a bell rings: a function that returns at once.
Ring: TypeAlias = Callable[[str], None]


class Doorbell(Protocol):
    """Says that there may be something new, here or on other replicas. Lossy: rings get lost, doubled and late.

    Topics are ids of runs (the log grew), ``JOBS`` (a run waits, in the shard of the message) and ``CANCELS`` (of the
    run in the message). Stores ring by themselves.
    """

    def subscribe(self, topic: str, ring: Ring) -> None:
        """Call ``ring`` with each message of the topic from now on, sooner or later."""
        ...

    def unsubscribe(self, topic: str, ring: Ring) -> None:
        """Undo ``subscribe``."""
        ...


JOBS = "jobs"
CANCELS = "cancels"
