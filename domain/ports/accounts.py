"""What is counted of users and tenants: balances, settlements that wait, rates."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from domain.ledger import Account, Entry, Finding, Hold, Settlement
from domain.rate import Charge, Slot, Verdict
from domain.tenants import TenantId


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

        Where the store does not answer, the replica may decide by itself, over its share; the verdict says so.

        Raises:
            StoreUnavailable: the store did not answer; what was asked for may or may not be taken.
        """
        ...

    async def correct(self, tenant: TenantId, charges: Sequence[Charge], at: float, slots: Sequence[Slot] = ()) -> None:
        """Add costs to meters that were estimated by the verdict of ``at`` and are known later; give places back.

        A negative cost is given back to the time at which it was taken, as far as that is still in the window: it never
        makes room twice. A positive one is counted now, whatever the meter holds. A daily budget is corrected on the
        day of ``at`` only. A place that is not held is free already.

        Raises:
            StoreUnavailable: the store did not answer; the meters may or may not be corrected, and the places lapse in
                any case.
        """
        ...

    async def keep(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        """Renew the places of runs that go on. One that has lapsed or was given back stays so: it may be another's.

        Raises:
            StoreUnavailable: the store did not answer; it is safe to call again.
        """
        ...
