"""Balances, holds and histories in Redis."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeAlias

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.pipe import Word
from adapters.redis.scripts import milliseconds, now, script
from domain.audit import examine
from domain.errors import BalanceTooLarge, InsufficientTokens, OperationConflict, StoreUnavailable
from domain.ledger import (
    HISTORY,
    Account,
    Deposit,
    Entry,
    EntryKind,
    Finding,
    Hold,
    is_entry_id,
    require_seconds,
    require_tokens,
)
from domain.ports import Clock
from domain.tenants import TenantId
from domain.tokens import MAX_TOKENS

#: An entry as a stream has it: an id, and names and values in turn.
_Line: TypeAlias = tuple[bytes, Sequence[bytes]]

#: The answer where a balance is no integer, and what is said of it.
UNUSABLE = [b"UNUSABLE"]
NO_INTEGER = "The balance cannot be read: it is no integer."


class RedisLedger:
    """A ledger by the server's clock; a test may give another.

    ``passing`` is how long an account is kept that is not lasting, ``remembered`` how long it is known how a hold
    ended or that an operation was carried out; both are in seconds. ``kept`` is how many entries a history has at
    least, and about at most.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        passing: float = 86_400.0,
        remembered: float = 86_400.0,
        kept: int = HISTORY,
        clock: Clock | None = None,
    ) -> None:
        self._connection = connection
        self._common: Sequence[Word] = (kept, milliseconds(remembered), milliseconds(passing))
        self._clock = clock

    async def available(self, account: Account) -> int:
        return available_of(*await self._run("available", AccountKeys.of(account)))

    async def grant(self, account: Account, operation: str, amount: int) -> int:
        return await self._carry_out("grant", account, operation, require_tokens(amount, least=1))

    async def adjust(self, account: Account, operation: str, balance: int) -> int:
        return await self._carry_out("adjust", account, operation, require_tokens(balance, least=-MAX_TOKENS))

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        deposit = Deposit(account, hold_id, wanted, least, initial, seconds, lasting)
        answer, *numbers = await self._run("hold", AccountKeys.of(account), *deposit_words(deposit))
        if answer == b"SHORT":
            raise InsufficientTokens(available_of(answer, *numbers))
        return Hold(hold_id, int(numbers[0]))

    async def touch(self, account: Account, hold_id: str, used: int, seconds: float) -> bool:
        words: list[Word] = [keys.require_id(hold_id), require_tokens(used), milliseconds(require_seconds(seconds))]
        _, touched = await self._run("touch", AccountKeys.of(account), *words)
        return bool(touched)

    async def settle(self, account: Account, hold_id: str, cost: int) -> int:
        words: list[Word] = [keys.require_id(hold_id), require_tokens(cost)]
        _, charged = await self._run("settle", AccountKeys.of(account), *words)
        return int(charged)

    async def release(self, account: Account, hold_id: str) -> int:
        _, charged = await self._run("release", AccountKeys.of(account), keys.require_id(hold_id))
        return int(charged)

    async def history(self, account: Account, *, before: str | None = None, limit: int = 100) -> Sequence[Entry]:
        if limit < 1 or (before is not None and not is_entry_id(before)):
            raise ValueError("neither a limit nor the id of an entry")
        lines = await self._ask("history", AccountKeys.of(account), before or "", limit)
        return tuple(map(read_entry, lines))

    async def audit(self, account: Account) -> Sequence[Finding]:
        reply = await self._ask("audit", AccountKeys.of(account))
        if reply == UNUSABLE:
            return (Finding(account, NO_INTEGER),)
        balance, beside, lines = reply
        fields = dict(zip(beside[::2], beside[1::2], strict=True))
        holds = {key.decode(): int(text.split(b":")[0]) for key, text in fields.items() if not key.startswith(b":")}
        return examine(account, int(balance), holds, int(fields.get(b":held", 0)), tuple(map(read_entry, lines)))

    async def accounts(self, tenant: TenantId | None = None) -> AsyncGenerator[Account, None]:
        async for key in self._connection.scan(keys.balances(tenant)):
            account = keys.account_of(key)
            if account is not None:
                yield account

    async def _carry_out(self, verb: str, account: Account, operation: str, tokens: int) -> int:
        at = AccountKeys.of(account)
        reply = await self._run(verb, at, operation, tokens, also=(at.operation(operation),))
        if reply[0] == b"CONFLICT":
            raise OperationConflict
        if reply[0] == b"TOO_LARGE":
            raise BalanceTooLarge
        return available_of(*reply)

    async def _run(self, verb: str, at: AccountKeys, *words: Word, also: Sequence[str] = ()) -> Any:
        reply = await self._ask(verb, at, *words, also=also)
        if reply == UNUSABLE:
            raise StoreUnavailable(NO_INTEGER)
        return reply

    async def _ask(self, verb: str, at: AccountKeys, *words: Word, also: Sequence[str] = ()) -> Any:
        names = [at.balance, at.holds, at.history, *also]
        return await self._connection.run(script(f"ledger/{verb}"), names, [*self.preamble(), *words])

    def preamble(self) -> Sequence[Word]:
        """What the words of every script begin with that touches an account."""
        return (now(self._clock), *self._common)


def deposit_words(deposit: Deposit) -> list[Word]:
    """A hold that is asked for, as scripts take it."""
    return [
        keys.require_id(deposit.hold_id),
        require_tokens(deposit.wanted, least=1),
        require_tokens(deposit.least, least=1),
        require_tokens(deposit.initial),
        milliseconds(require_seconds(deposit.seconds)),
        int(deposit.lasting),
    ]


def available_of(_: bytes, balance: bytes, held: bytes) -> int:
    """What is available, of an answer that tells balance and holds."""
    return int(balance) - int(held)


def read_entry(line: _Line) -> Entry:
    """The entry that a line of the stream records."""
    entry_id, values = line[0].decode(), [value.decode() for value in line[1][1::2]]
    at = int(entry_id.split("-")[0]) / 1000
    return Entry(entry_id, at, EntryKind(values[0]), values[1], *map(int, values[2:]))
