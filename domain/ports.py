"""The whole outside world, as the domain needs it. Docstrings are the contract that every adapter keeps.

Each call has a deadline of its own, set where the adapter is built; a store that misses it raises StoreUnavailable.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from domain.chat import Chunk, Completion, JsonObject
from domain.facts import Fact
from domain.providers import Target
from domain.rate import Charge, Verdict
from domain.runs import Ending, LogSlice, Run
from domain.tenants import GroupId, Principal, Tenant, TenantId, UserId

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


@dataclass(frozen=True, slots=True)
class Account:
    """Whose balance: one user in one group of one tenant."""

    tenant: TenantId
    group: GroupId
    user: UserId


@dataclass(frozen=True, slots=True)
class Hold:
    """``amount`` tokens set aside for a run; at most what was available, and so at times less than was wanted."""

    id: str
    amount: int


class Ledger(Protocol):
    """Balances of users, in tokens. Fails closed: no answer means no spending.

    The balance is one integer, which an operator may overwrite at any time. Holds stand beside it; what is available
    is the balance less the open holds.
    """

    async def available(self, account: Account) -> int:
        """The balance less its open holds; it can be negative. No record is 0.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        """Set min(``wanted``, available) aside, if that is at least ``least``, until settled or released.

        Atomic across replicas. An account without a record is granted ``initial`` tokens first; such a record is kept
        for a day only unless ``lasting`` (anonymous users never come back). After ``seconds`` the hold lapses by
        itself. Calling again with the same ``hold_id`` returns the first hold, even if it has ended meanwhile; an id
        that was released before it was held cannot be held any more, so that a late call sets nothing aside.

        Raises:
            InsufficientTokens: fewer than ``least`` are available; nothing was set aside.
            StoreUnavailable: the store did not answer; the hold may or may not stand.
        """
        ...

    async def settle(self, account: Account, hold_id: str, cost: int) -> None:
        """Take ``cost`` tokens from the balance and end the hold. The balance may go below zero by the overrun.

        Exactly once: a second call changes nothing. A hold that lapsed is charged all the same.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...

    async def release(self, account: Account, hold_id: str) -> None:
        """End the hold at no cost. A second call, or one after ``settle``, changes nothing.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...


class RateLimiter(Protocol):
    """Meters of a tenant, equal to the arithmetic of ``domain.rate``."""

    async def take(self, tenant: TenantId, charges: Sequence[Charge]) -> Verdict:
        """Charge all meters, or none if one of them has no room. Atomic across replicas, by the store's clock.

        Readings come in the order of ``charges``; no charges are always allowed.

        Raises:
            StoreUnavailable: the store did not answer; the meters may or may not be charged.
        """
        ...

    async def correct(self, tenant: TenantId, charge: Charge) -> None:
        """Add ``charge.cost`` (negative: give back) to a meter, whatever it holds; it never falls below empty.

        For a cost that was estimated on admission and is known at the end.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


class RunStore(Protocol):
    """Records and logs of runs. Whatever is written lapses by itself: a log sooner than its record and result."""

    async def begin(self, run: Run) -> None:
        """Keep the record of a new run; it also becomes its conversation's latest, where it has one. Idempotent.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def claim(self, run_id: str) -> Run | None:
        """Move a queued run to in_progress for this process; None where it is not queued (any more). Same attempt.

        Atomic across replicas: of several claims, one gets the run.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...

    async def append(
        self, run_id: str, attempt: int, base: int, entries: Sequence[bytes], ending: Ending | None = None
    ) -> bool:
        """Add entries behind number ``base``; with an ``ending``, close the log and keep the result too.

        Atomic. Entries that the log has already are skipped, and an equal ending is accepted again, so a call whose
        reply was lost can be repeated. False, and nothing was changed: the run is unknown, ended otherwise, belongs to
        a newer attempt, or ``base`` would leave a gap.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
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
