"""Balances and holds in Redis."""

from adapters.redis.connection import RedisConnection, Word
from adapters.redis.keys import AccountKeys
from adapters.redis.scripts import milliseconds, now, script
from domain.errors import InsufficientTokens, StoreUnavailable
from domain.ledger import Account, Hold
from domain.ports import Clock


class RedisLedger:
    """A ledger by the server's clock; a test may give another.

    ``passing`` is how long an account is kept that is not lasting, ``remembered`` how long it is known that a hold
    was settled or released; both are in seconds.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        passing: float = 86_400.0,
        remembered: float = 86_400.0,
        clock: Clock | None = None,
    ) -> None:
        self._connection = connection
        self._passing_ms = milliseconds(passing)
        self._remembered_ms = milliseconds(remembered)
        self._clock = clock

    async def available(self, account: Account) -> int:
        at = AccountKeys.of(account)
        answer, tokens = await self._connection.run(
            script("ledger/available"), [at.balance, at.holds], [now(self._clock)]
        )
        _require_usable(answer)
        return int(tokens)

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        at = AccountKeys.of(account)
        words: list[Word] = [hold_id, wanted, least, initial, milliseconds(seconds), 0 if lasting else self._passing_ms]
        answer, tokens = await self._connection.run(
            script("ledger/hold"), [at.balance, at.holds, at.closed(hold_id)], [now(self._clock), *words]
        )
        _require_usable(answer)
        if answer == b"SHORT":
            raise InsufficientTokens(int(tokens))
        return Hold(hold_id, int(tokens))

    async def settle(self, account: Account, hold_id: str, cost: int) -> int:
        at = AccountKeys.of(account)
        words: list[Word] = [now(self._clock), hold_id, cost, self._remembered_ms, self._passing_ms]
        answer, charged = await self._connection.run(
            script("ledger/settle"), [at.balance, at.holds, at.closed(hold_id)], words
        )
        _require_usable(answer)
        return int(charged)

    async def release(self, account: Account, hold_id: str) -> int:
        at = AccountKeys.of(account)
        words: list[Word] = [now(self._clock), hold_id, self._remembered_ms]
        return int(await self._connection.run(script("ledger/release"), [at.holds, at.closed(hold_id)], words))


def _require_usable(answer: bytes) -> None:
    """Raise unless the balance that an operator may have set is an integer."""
    if answer == b"UNUSABLE":
        raise StoreUnavailable("The balance cannot be read: it is no integer.")
