"""Balances, holds and histories in this process."""

import math
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from adapters.memory.lapsing import Lapsing
from domain.audit import examine
from domain.errors import BalanceTooLarge, InsufficientTokens, OperationConflict
from domain.ledger import (
    HISTORY,
    Account,
    Entry,
    EntryKind,
    Finding,
    Hold,
    bounded,
    is_entry_id,
    require_seconds,
    require_tokens,
)
from domain.ports import Clock
from domain.tenants import TenantId
from domain.tokens import MAX_TOKENS


@dataclass(slots=True)
class _Open:
    """A hold that has not ended. ``lapse`` is in Unix milliseconds; ``used`` as of its last touch.

    A ``partial`` one is of less than was wanted.
    """

    amount: int
    lapse: int
    used: int = 0
    partial: bool = False


@dataclass(frozen=True, slots=True)
class _Closed:
    """A hold that has ended; unless ``final``, it lapsed, and can still be charged the rest of its cost."""

    amount: int
    charged: int
    final: bool = True


@dataclass(slots=True)
class _Book:
    """An account: ``balance`` is None without a record, and ``known`` what the ledger last wrote or found there."""

    entries: deque[Entry]
    balance: int | None = None
    known: int | None = None
    holds: dict[str, _Open] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds.values())

    @property
    def available(self) -> int:
        return (self.balance or 0) - self.held

    def write(self, balance: int) -> None:
        self.balance = self.known = bounded(balance)

    def append(self, kind: EntryKind, operation: str, amount: int, now_ms: int) -> None:
        last_ms, last_number = self.last_id()
        ms = max(now_ms, last_ms)
        number = last_number + 1 if ms == last_ms else 0
        entry = Entry(f"{ms}-{number}", ms / 1000, kind, operation, bounded(amount), self.balance or 0, self.held)
        self.entries.append(entry)

    def last_id(self) -> tuple[int, int]:
        return _order(self.entries[-1].id) if self.entries else (0, 0)


class MemoryLedger:
    """A ledger by this process's clock.

    ``passing`` is how long an account is kept that is not lasting, ``remembered`` how long it is known how a hold
    ended or that an operation was carried out; both are in seconds. ``kept`` is how many entries a history has.
    """

    def __init__(
        self, clock: Clock, *, passing: float = 86_400.0, remembered: float = 86_400.0, kept: int = HISTORY
    ) -> None:
        self._clock = clock
        self._passing = passing
        self._remembered = remembered
        self._kept = kept
        self._books: Lapsing[Account, _Book] = Lapsing(clock)
        self._closed: Lapsing[tuple[Account, str], _Closed] = Lapsing(clock)
        #: What was granted, or set.
        self._operations: Lapsing[tuple[Account, str], tuple[EntryKind, int]] = Lapsing(clock)

    def overwrite(self, account: Account, balance: int | None) -> None:
        """Set a balance for good, as an operator does in Redis with SET; None deletes it."""
        book = self._book(account)
        book.balance = balance
        self._books.put(account, book, self._passing if balance is None else math.inf)

    async def available(self, account: Account) -> int:
        return self._look(account).available

    async def grant(self, account: Account, operation: str, amount: int) -> int:
        require_tokens(amount, least=1)
        book = self._look(account)
        if self._is_done(account, operation, (EntryKind.GRANT, amount)):
            return book.available
        balance = (book.balance or 0) + amount
        if balance > MAX_TOKENS:
            raise BalanceTooLarge
        return self._carry_out(account, book, operation, (EntryKind.GRANT, amount), balance)

    async def adjust(self, account: Account, operation: str, balance: int) -> int:
        require_tokens(balance, least=-MAX_TOKENS)
        book = self._look(account)
        if self._is_done(account, operation, (EntryKind.ADJUST, balance)):
            return book.available
        return self._carry_out(account, book, operation, (EntryKind.ADJUST, balance), balance)

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        require_tokens(wanted, least=1)
        require_tokens(least, least=1)
        require_tokens(initial)
        lapse_ms = math.ceil(require_seconds(seconds) * 1000)
        book = self._look(account)
        available = book.available + (initial if book.balance is None else 0)
        first = self._first(account, book, hold_id)
        amount = min(wanted, available) if first is None else first
        # Of those that may come to cost more than they have set aside, one at a time: two would overrun together.
        partial = first is None and amount < wanted
        if amount < least or (partial and any(hold.partial for hold in book.holds.values())):
            raise InsufficientTokens(available)
        if first is None:
            if book.balance is None:
                self._write(account, book, initial, math.inf if lasting else self._passing)
                book.append(EntryKind.GRANT, f"initial:{hold_id}", initial, self._now_ms())
            book.holds[hold_id] = _Open(amount, self._now_ms() + lapse_ms, partial=partial)
            book.append(EntryKind.HOLD, hold_id, amount, self._now_ms())
        return Hold(hold_id, amount)

    async def touch(self, account: Account, hold_id: str, used: int, seconds: float) -> bool:
        require_tokens(used)
        lapse_ms = math.ceil(require_seconds(seconds) * 1000)
        hold = self._look(account).holds.get(hold_id)
        if hold is None:
            return False
        hold.used = max(hold.used, used)
        hold.lapse = max(hold.lapse, self._now_ms() + lapse_ms)
        return True

    async def settle(self, account: Account, hold_id: str, cost: int) -> int:
        require_tokens(cost)
        book = self._look(account)
        closed = self._closed.get((account, hold_id))
        if closed is not None and closed.final:
            return closed.charged
        already = closed.charged if closed is not None else 0
        hold = book.holds.pop(hold_id, None)
        charge = max(cost - already, 0)
        self._charge(account, book, charge)
        book.append(EntryKind.SETTLE, hold_id, charge, self._now_ms())
        amount = hold.amount if hold is not None else closed.amount if closed is not None else 0
        return self._close(account, hold_id, _Closed(amount, already + charge))

    async def release(self, account: Account, hold_id: str) -> int:
        book = self._look(account)
        closed = self._closed.get((account, hold_id))
        if closed is not None:
            # One that has lapsed keeps its charge, and is not charged any more.
            return (
                closed.charged
                if closed.final
                else self._close(account, hold_id, _Closed(closed.amount, closed.charged))
            )
        hold = book.holds.pop(hold_id, None)
        if hold is not None:
            book.append(EntryKind.RELEASE, hold_id, 0, self._now_ms())
        # One that was never made can no longer be made.
        return self._close(account, hold_id, _Closed(hold.amount if hold is not None else 0, 0))

    async def history(self, account: Account, *, before: str | None = None, limit: int = 100) -> Sequence[Entry]:
        if limit < 1 or (before is not None and not is_entry_id(before)):
            raise ValueError("neither a limit nor the id of an entry")
        older = (
            entry
            for entry in reversed(self._look(account).entries)
            if before is None or _order(entry.id) < _order(before)
        )
        return tuple(entry for _, entry in zip(range(limit), older, strict=False))

    async def audit(self, account: Account) -> Sequence[Finding]:
        book = self._look(account)
        holds = {hold_id: hold.amount for hold_id, hold in book.holds.items()}
        return examine(account, book.balance or 0, holds, book.held, tuple(book.entries))

    async def accounts(self, tenant: TenantId | None = None) -> AsyncGenerator[Account, None]:
        for account, book in [*self._books.items()]:
            if book.balance is not None and tenant in {None, account.tenant}:
                yield account

    # --- what every verb begins with ---

    def _look(self, account: Account) -> _Book:
        """The account, after what an operator and the time have done to it was recorded."""
        book = self._book(account)
        found, known = book.balance or 0, book.known or 0
        if found != known:
            ms, number = book.last_id()
            book.append(EntryKind.ADJUST, f"set:{ms}-{number}", found - known, self._now_ms())
        book.known = book.balance
        over = [(hold.lapse, hold_id) for hold_id, hold in book.holds.items() if hold.lapse <= self._now_ms()]
        for _, hold_id in sorted(over):
            self._lapse(account, book, hold_id)
        return book

    def _lapse(self, account: Account, book: _Book, hold_id: str) -> None:
        hold = book.holds.pop(hold_id)
        charge = min(hold.used, hold.amount)
        if charge:
            self._charge(account, book, charge)
        book.append(EntryKind.LAPSE, hold_id, charge, self._now_ms())
        self._close(account, hold_id, _Closed(hold.amount, charge, final=False))

    def _book(self, account: Account) -> _Book:
        return self._books.get(account) or _Book(deque(maxlen=self._kept))

    # --- what they do ---

    def _first(self, account: Account, book: _Book, hold_id: str) -> int | None:
        """What the hold of this id set aside, whether it is still open or not; None where it is new."""
        hold: _Open | _Closed | None = book.holds.get(hold_id) or self._closed.get((account, hold_id))
        return hold.amount if hold is not None else None

    def _is_done(self, account: Account, operation: str, what: tuple[EntryKind, int]) -> bool:
        done = self._operations.get((account, operation))
        if done not in {None, what}:
            raise OperationConflict
        return done is not None

    def _carry_out(
        self, account: Account, book: _Book, operation: str, what: tuple[EntryKind, int], balance: int
    ) -> int:
        difference = balance - (book.balance or 0)
        self._write(account, book, balance, math.inf)
        book.append(what[0], operation, difference, self._now_ms())
        self._operations.put((account, operation), what, self._remembered)
        return book.available

    def _charge(self, account: Account, book: _Book, tokens: int) -> None:
        if book.balance is None:
            self._write(account, book, -tokens, self._passing)
        else:
            book.write(book.balance - tokens)

    def _write(self, account: Account, book: _Book, balance: int, seconds: float) -> None:
        """Write a balance that is kept, with all that belongs to it, for so long from now."""
        book.write(balance)
        self._books.put(account, book, seconds)

    def _close(self, account: Account, hold_id: str, closed: _Closed) -> int:
        self._closed.put((account, hold_id), closed, self._remembered)
        return closed.charged

    def _now_ms(self) -> int:
        return math.floor(self._clock() * 1000)


def _order(entry_id: str) -> tuple[int, int]:
    ms, number = entry_id.split("-")
    return int(ms), int(number)
