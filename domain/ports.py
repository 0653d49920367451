"""The whole outside world, as the domain needs it. Docstrings are the contract that every adapter keeps.

Each call has a deadline of its own, set where the adapter is built; a store that misses it raises StoreUnavailable.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from domain.chat import Chunk, Completion, JsonObject
from domain.facts import Fact
from domain.ledger import Account, Entry, Finding, Hold, Settlement
from domain.providers import Target
from domain.rate import Charge, Slot, Verdict
from domain.runs import Appended, Claim, Ending, LogSlice, Run, Survey, Work
from domain.tenants import Principal, Tenant, TenantId, UserId

#: Unix seconds.
Clock: TypeAlias = Callable[[], float]
#: So many bytes from the operating system's generator.
Entropy: TypeAlias = Callable[[int], bytes]


class TenantStore(Protocol):
    """Configurations of tenants, as documents in the form of the seeds (``docs/configuration.md``)."""

    async def get(self, tenant_id: TenantId) -> Tenant | None:
        """The tenant, None where there is none. What was changed in the store is seen within 5 seconds.

        Raises:
            TenantMisconfigured: there is a document, but it cannot be read.
            StoreUnavailable: the store did not answer, and the tenant was not read in the last 5 seconds.
        """
        ...

    async def put(self, tenant_id: TenantId, document: JsonObject) -> None:
        """Write a tenant's document, whole; readers in this process see it at once.

        Raises:
            TenantMisconfigured: it could not be read back; nothing was changed.
            StoreUnavailable: the store did not answer.
        """
        ...


class Ledger(Protocol):
    """Balances of users, in tokens. Fails closed: no answer means no spending.

    The balance is one integer, which an operator may overwrite at any time; the ledger takes it as the truth, and
    records the difference as an adjustment when it next looks. Holds stand beside it; what is available is the
    balance less the open holds. Every change appends an entry to the account's history, with the balance after it.
    """

    async def available(self, account: Account) -> int:
        """The balance less its open holds; it can be negative. No record is 0.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def grant(self, account: Account, operation: str, amount: int) -> int:
        """Add ``amount`` tokens (1 at least) to the balance, for good; what is available after it.

        Exactly once for an ``operation``: again with the same amount changes nothing.

        Raises:
            OperationConflict: the operation granted another amount; nothing was changed.
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def adjust(self, account: Account, operation: str, balance: int) -> int:
        """Set the balance, for good; what is available after it. Exactly once for an ``operation``.

        Raises:
            OperationConflict: the operation set another balance; nothing was changed.
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        """Set min(``wanted``, available) aside, if that is at least ``least``, until settled or released.

        While a hold of less than was wanted is open, there is no second one: so all overruns together are at most one.
        Atomic across replicas. An account without a record is granted ``initial`` tokens first; such a record is kept
        for a day only unless ``lasting`` (anonymous users never come back). After ``seconds`` without a ``touch`` the
        hold lapses by itself, and what it used until its last touch is charged. Calling again with the same
        ``hold_id`` returns the first hold, even if it has ended meanwhile; an id that was released before it was held
        cannot be held any more, so that a late call sets nothing aside.

        Raises:
            InsufficientTokens: fewer than ``least`` are available, or fewer than ``wanted`` and another hold got less
                than it wanted, too; nothing was set aside.
            StoreUnavailable: the store did not answer; the hold may or may not stand.
        """
        ...

    async def touch(self, account: Account, hold_id: str, used: int, seconds: float) -> bool:
        """Say that an open hold is still needed, for so many seconds from now at least, and how much it used so far.

        What it used never shrinks. False, and nothing was changed: the hold is not open.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def settle(self, account: Account, hold_id: str, cost: int) -> int:
        """Take ``cost`` tokens from the balance and end the hold. The balance may go below zero by the overrun.

        Exactly once: a second call changes nothing. A hold that lapsed is charged all the same: what its lapse has
        not charged yet. Returns what was charged for the hold in all, which is another's cost where another has
        settled before, and 0 where the hold had been released.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def release(self, account: Account, hold_id: str) -> int:
        """End the hold at no cost. A second call, or one after ``settle``, changes nothing; returns what was charged.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def history(self, account: Account, *, before: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """The latest entries of an account, newest first; those older than entry ``before`` where it is given.

        A history is capped: its oldest entries go.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def audit(self, account: Account) -> Sequence[Finding]:
        """What the account's history does not explain of its balance and its holds; nothing, if all is well.

        Holds that have lapsed are charged first, and a balance that an operator has set is recorded first.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    def accounts(self, tenant: TenantId | None = None) -> AsyncGenerator[Account, None]:
        """All accounts with a balance, of one tenant or of all, in no order; some more than once.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


class Outbox(Protocol):
    """Settlements that the ledger could not be told yet. Each is written down before anybody goes on."""

    @property
    def is_full(self) -> bool:
        """Whether no more can be taken: then nothing may be spent."""
        ...

    async def put(self, settlement: Settlement) -> None:
        """Keep a settlement, for good where the outbox has a place that outlives the process.

        Raises:
            OutboxFailed: it cannot be written down.
        """
        ...

    def waiting(self) -> Sequence[Settlement]:
        """What is kept, oldest first; what a process left that died on this place, too."""
        ...

    async def done(self, settlement: Settlement) -> None:
        """Forget a settlement, as the ledger knows of it. One that comes back all the same does no harm."""
        ...


class RateLimiter(Protocol):
    """Meters of a tenant and places for its runs, equal to the arithmetic of ``domain.rate``.

    Meters and places have names of their own: no name occurs twice in a call.
    """

    async def take(self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot] = ()) -> Verdict:
        """Charge all meters and take all places, or nothing if one of them has no room.

        Atomic across replicas, by the store's clock, in one round trip. Readings come in the order of ``charges``;
        slots have none. A charge of nothing always fits and changes nothing. A holder that has its place already has it
        once, from now on. Neither charges nor slots: always allowed, and the store is not asked.

        Raises:
            StoreUnavailable: the store did not answer; what was asked for may or may not be taken.
        """
        ...

    async def correct(self, tenant: TenantId, charge: Charge, at: float) -> None:
        """Add ``charge.cost`` to a meter, for a cost that was estimated by the verdict of ``at`` and is known later.

        A negative one is given back to the time at which it was taken, as far as that is still in the window: it never
        makes room twice. A positive one is counted now, whatever the meter holds. A daily budget is corrected on the
        day of ``at`` only.

        Raises:
            StoreUnavailable: the store did not answer; the meter may or may not be corrected.
        """
        ...

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        """Renew the places of runs that go on. One that has lapsed or was given back stays so: it may be another's.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def free(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        """Give places back. Idempotent: what is not held is free.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again, and the places lapse in any case.
        """
        ...


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
        self, run_id: str, fence: int, base: int, entries: Sequence[bytes], ending: Ending | None = None
    ) -> Appended:
        """Add entries behind number ``base``; with an ``ending``, close the log and keep the result too.

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


class Tokenizer(Protocol):
    """Counts tokens. Works without a network and never blocks the event loop for long."""

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        """The sum of the tokens of ``texts``; special tokens in them count as the plain text that they are.

        An unknown vocabulary is counted as ``o200k_base``.
        """
        ...


class TokenVerifier(Protocol):
    """Tells whom a bearer token speaks for."""

    async def verify(self, token: str) -> Principal:
        """The principal of a good token.

        Raises:
            NotAuthenticated: expired, forged, malformed, or of another issuer or audience.
            KeysUnavailable: it may be good, but the issuer's keys cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a provider. ``body`` is OpenAI's, without model and stream, which the adapter sets.

    ``deadline`` is in seconds from now, for the whole answer. ``extras`` says whether to keep what the provider sends
    beyond OpenAI's fields.
    """

    target: Target
    body: JsonObject
    request_id: str
    deadline: float
    extras: bool = True


class ChatProvider(Protocol):
    """Any OpenAI-compatible provider, over the network. Never answers with less than the whole: it raises."""

    async def create_chat_completion(self, call: Call) -> Completion:
        """The whole answer, in OpenAI's shape; usage None where the provider sent none that can be true.

        Raises:
            ProviderError: and its kinds, as ``domain.errors`` lists them.
        """
        ...

    def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        """The answer as it comes: the chunks of each network read together, in order.

        Usage is always asked for and comes in a chunk's ``usage``. The generator ends only after a complete answer;
        it must be closed (``aclosing``), which ends the request upstream.

        Raises:
            ProviderError: and its kinds; ProviderTruncated where the stream ended before the answer did.
        """
        ...


class Journal(Protocol):
    """Takes note of facts. Never raises and never waits."""

    def record(self, fact: Fact) -> None: ...


class Dependency(Protocol):
    """Something that must answer for this replica to be ready."""

    @property
    def name(self) -> str: ...

    async def check(self) -> str | None:
        """None where it answers, else the reason why not, in a few words that may be shown to anyone."""
        ...

    async def flaw(self) -> str | None:
        """Why no process should start with it, which no waiting mends; None where nothing is known against it."""
        ...
