"""What a ledger should do with one account, told as simply as possible, and what it keeps, to compare them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import read_entry
from domain.audit import examine
from domain.errors import BalanceTooLarge, InsufficientTokens, OperationConflict
from domain.ledger import Account, Entry, Hold
from domain.tokens import MAX_TOKENS
from tests.fakes import FrozenClock

ALICE = Account("acme", "staff", "alice")


class Line(NamedTuple):
    """An entry without its id, and without what makes the adjustments unique that an operator made by hand."""

    kind: str
    operation: str
    amount: int
    balance: int
    held: int


class Open(NamedTuple):
    amount: int
    lapse_ms: int
    used: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account as it is stored, before anybody looks: what an operator set may not be recorded yet."""

    balance: int | None
    known: int | None
    held: int
    open: Mapping[str, Open]
    entries: tuple[Entry, ...]

    @property
    def lines(self) -> list[Line]:
        return [line_of(entry) for entry in self.entries]

    @property
    def findings(self) -> list[str]:
        amounts = {hold_id: hold.amount for hold_id, hold in self.open.items()}
        return [finding.what for finding in examine(ALICE, self.known or 0, amounts, self.held, self.entries)]


@dataclass(slots=True)
class Book:
    """The model of one account."""

    clock: FrozenClock
    balance: int | None = None
    known: int | None = None
    open: dict[str, Open] = field(default_factory=dict)
    #: Amount, what was charged, and whether that is the end of it.
    closed: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    operations: dict[str, tuple[str, int]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    #: The holds of less than was wanted, open or not.
    partial: set[str] = field(default_factory=set)

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.open.values())

    @property
    def now_ms(self) -> int:
        return math.floor(self.clock() * 1000)

    def available(self) -> int:
        self.look()
        return (self.balance or 0) - self.held

    def grant(self, operation: str, amount: int) -> int:
        self.look()
        return self._once(operation, ("grant", amount), (self.balance or 0) + amount)

    def adjust(self, operation: str, balance: int) -> int:
        self.look()
        return self._once(operation, ("adjust", balance), balance)

    def hold(self, hold_id: str, wanted: int, least: int, initial: int, seconds: float) -> Hold:
        self.look()
        free = (initial if self.balance is None else self.balance) - self.held
        first = self.open[hold_id].amount if hold_id in self.open else self.closed.get(hold_id, (None,))[0]
        amount = min(wanted, free) if first is None else first
        partial = first is None and amount < wanted
        if amount < least or (partial and self.partial & self.open.keys()):
            raise InsufficientTokens(free)
        if partial:
            self.partial.add(hold_id)
        if first is None:
            if self.balance is None:
                self.balance = self.known = initial
                self._write("grant", f"initial:{hold_id}", initial)
            self.open[hold_id] = Open(amount, self.now_ms + math.ceil(seconds * 1000), 0)
            self._write("hold", hold_id, amount)
        return Hold(hold_id, amount)

    def touch(self, hold_id: str, used: int, seconds: float) -> bool:
        self.look()
        if hold_id not in self.open:
            return False
        amount, lapse_ms, before = self.open[hold_id]
        later_ms = max(lapse_ms, self.now_ms + math.ceil(seconds * 1000))
        self.open[hold_id] = Open(amount, later_ms, max(before, used))
        return True

    def settle(self, hold_id: str, cost: int) -> int:
        self.look()
        amount, already, final = self.closed.get(hold_id, (0, 0, False))
        if final:
            return already
        if hold_id in self.open:
            amount = self.open.pop(hold_id).amount
        rest = cost - already if cost > already else 0
        self.balance = self.known = max((self.balance or 0) - rest, -MAX_TOKENS)
        self._write("settle", hold_id, rest)
        self.closed[hold_id] = (amount, already + rest, True)
        return already + rest

    def release(self, hold_id: str) -> int:
        self.look()
        amount, already, _ = self.closed.get(hold_id, (0, 0, False))
        if hold_id in self.open:
            amount = self.open.pop(hold_id).amount
            self._write("release", hold_id, 0)
        self.closed[hold_id] = (amount, already, True)
        return already

    def look(self) -> None:
        """Record what an operator did, then what the time did."""
        if (self.balance or 0) != (self.known or 0):
            self._write("adjust", "set", _bounded((self.balance or 0) - (self.known or 0)))
        self.known = self.balance
        over = sorted((hold.lapse_ms, hold_id) for hold_id, hold in self.open.items() if hold.lapse_ms <= self.now_ms)
        for _, hold_id in over:
            amount, _, used = self.open.pop(hold_id)
            charge = min(amount, used)
            if charge:
                self.balance = self.known = max((self.balance or 0) - charge, -MAX_TOKENS)
            self._write("lapse", hold_id, charge)
            self.closed[hold_id] = (amount, charge, False)

    def next_lapse_ms(self) -> int | None:
        return min((hold.lapse_ms for hold in self.open.values()), default=None)

    def _once(self, operation: str, what: tuple[str, int], balance: int) -> int:
        if self.operations.get(operation, what) != what:
            raise OperationConflict
        if operation not in self.operations:
            if balance > MAX_TOKENS:
                raise BalanceTooLarge
            difference = _bounded(balance - (self.balance or 0))
            self.balance = self.known = balance
            self.operations[operation] = what
            self._write(what[0], operation, difference)
        return (self.balance or 0) - self.held

    def _write(self, kind: str, operation: str, amount: int) -> None:
        self.lines.append(Line(kind, operation, amount, self.balance or 0, self.held))


def line_of(entry: Entry) -> Line:
    operation = "set" if entry.operation.startswith("set:") else entry.operation
    return Line(entry.kind.value, operation, entry.amount, entry.balance, entry.held)


def memory_snapshot(ledger: Any) -> Snapshot:
    book = ledger._book(ALICE)
    holds = {hold_id: Open(hold.amount, hold.lapse, hold.used) for hold_id, hold in book.holds.items()}
    return Snapshot(book.balance, book.known, book.held, holds, tuple(book.entries))


async def redis_snapshot(connection: RedisConnection) -> Snapshot:
    at = AccountKeys.of(ALICE)
    balance = await connection.command("GET", at.balance)
    beside = await connection.command("HGETALL", at.holds)
    if not isinstance(beside, dict):
        beside = dict(zip(beside[::2], beside[1::2], strict=True))
    known = beside.pop(b":balance", b"")
    held = int(beside.pop(b":held", 0))
    beside.pop(b":next", None)
    beside.pop(b":partial", None)
    holds = {hold_id.decode(): Open(*map(int, text.split(b":"))) for hold_id, text in beside.items()}
    return Snapshot(
        None if balance is None else int(balance),
        int(known) if known else None,
        held,
        holds,
        await _entries(connection, at.history),
    )


async def _entries(connection: RedisConnection, key: str) -> tuple[Entry, ...]:
    """The entries of a history, which is a list of texts at first and then a stream."""
    if await connection.command("TYPE", key) in (b"list", "list"):
        words = [text.split(b" ") for text in await connection.command("LRANGE", key, 0, -1)]
        return tuple(read_entry((each[0], [part for word in each[1:] for part in (b"", word)])) for each in words)
    lines = await connection.command("XRANGE", key, "-", "+")
    return tuple(read_entry((line[0], _flat(line[1]))) for line in lines)


def _flat(values: Any) -> list[bytes]:
    return [part for pair in values.items() for part in pair] if isinstance(values, dict) else list(values)


def _bounded(tokens: int) -> int:
    return min(max(tokens, -MAX_TOKENS), MAX_TOKENS)
