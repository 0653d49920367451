"""Balances and holds in this process."""

import math

from adapters.memory.lapsing import Lapsing
from domain.errors import InsufficientTokens
from domain.ledger import Account, Hold
from domain.ports import Clock
from domain.tokens import MAX_TOKENS


class MemoryLedger:
    """A ledger by this process's clock.

    ``passing`` is how long an account is kept that is not lasting, ``remembered`` how long it is known that a hold
    was settled or released; both are in seconds.
    """

    def __init__(self, clock: Clock, *, passing: float = 86_400.0, remembered: float = 86_400.0) -> None:
        self._clock = clock
        self._passing = passing
        self._remembered = remembered
        self._balances: Lapsing[Account, int] = Lapsing(clock)
        self._holds: Lapsing[Account, Lapsing[str, int]] = Lapsing(clock)
        #: Amount and cost of the holds that were settled or released.
        self._closed: Lapsing[tuple[Account, str], tuple[int, int]] = Lapsing(clock)

    def overwrite(self, account: Account, balance: int) -> None:
        """Set a balance for good, as an operator does in Redis with SET."""
        self._balances.put(account, balance)

    async def available(self, account: Account) -> int:
        return self._available(account, self._balances.get(account) or 0)

    async def hold(
        self, account: Account, hold_id: str, *, wanted: int, least: int, initial: int, seconds: float, lasting: bool
    ) -> Hold:
        balance = self._balances.get(account)
        available = self._available(account, initial if balance is None else balance)
        first = self._first(account, hold_id)
        amount = min(wanted, available) if first is None else first
        if amount < least:
            raise InsufficientTokens(available)
        if first is None:
            if balance is None:
                self._balances.put(account, initial, math.inf if lasting else self._passing)
            self._open(account, hold_id, amount, seconds)
        return Hold(hold_id, amount)

    async def settle(self, account: Account, hold_id: str, cost: int) -> int:
        closed = self._closed.get((account, hold_id))
        if closed is not None:
            return closed[1]
        balance = self._balances.get(account)
        if balance is None:
            self._balances.put(account, max(-cost, -MAX_TOKENS), self._passing)
        else:
            self._balances.change(account, max(balance - cost, -MAX_TOKENS))
        return self._close(account, hold_id, cost)

    async def release(self, account: Account, hold_id: str) -> int:
        closed = self._closed.get((account, hold_id))
        return closed[1] if closed is not None else self._close(account, hold_id, 0)

    def _available(self, account: Account, balance: int) -> int:
        holds = self._holds.get(account)
        return balance - (sum(holds.values()) if holds is not None else 0)

    def _first(self, account: Account, hold_id: str) -> int | None:
        """What the hold of this id set aside, whether it is still open or not; None where it is new, or has lapsed."""
        holds = self._holds.get(account)
        amount = holds.get(hold_id) if holds is not None else None
        closed = self._closed.get((account, hold_id)) if amount is None else None
        return closed[0] if closed is not None else amount

    def _open(self, account: Account, hold_id: str, amount: int, seconds: float) -> None:
        holds = self._holds.get(account)
        if holds is None:
            holds = Lapsing(self._clock)
        holds.put(hold_id, amount, seconds)
        # All of them go when the last has lapsed; the second more keeps rounding from taking it along.
        self._holds.put(account, holds, holds.until() - self._clock() + 1.0)

    def _close(self, account: Account, hold_id: str, cost: int) -> int:
        """End a hold and remember it; one that was never made can no longer be made."""
        holds = self._holds.get(account)
        amount = holds.pop(hold_id) if holds is not None else None
        self._closed.put((account, hold_id), (amount or 0, cost), self._remembered)
        return cost
