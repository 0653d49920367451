"""The till in Redis: one script where one server has all keys; one verb after the other in a cluster."""

from collections.abc import Sequence
from typing import Any

from adapters.redis.connection import RedisConnection
from adapters.redis.keys import AccountKeys
from adapters.redis.ledger import NO_INTEGER, UNUSABLE, RedisLedger, available_of, deposit_words
from adapters.redis.pipe import Word
from adapters.redis.rate import limit_words, meters, verdict_of
from adapters.redis.runs import RedisRunStore, appended_keys
from adapters.redis.scripts import script
from domain import limits
from domain.completions.patience import insist
from domain.completions.till import HOLD_PATIENCE, SeparateTill
from domain.errors import InsufficientTokens, StoreUnavailable
from domain.ledger import Account, Deposit, Hold, Settlement, require_tokens
from domain.ports import RateLimiter
from domain.rate import Charge, Slot, Verdict
from domain.runs import Answered, Appended, Ending, Standing
from domain.tenants import TenantId


class RedisTill:
    """A till before stores that share a connection."""

    def __init__(
        self, connection: RedisConnection, limiter: RateLimiter, ledger: RedisLedger, store: RedisRunStore
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._store = store
        self._separate = SeparateTill(limiter, ledger, store)

    async def admit(
        self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot], deposit: Deposit
    ) -> tuple[Verdict, Hold]:
        if not self._connection.is_one_server:
            return await self._separate.admit(tenant, charges, slots, deposit)
        names = meters(tenant, charges, slots)
        words = [*deposit_words(deposit), *limit_words(charges, slots)]
        # Asked again it takes nothing again: the hold says that all was taken.
        answer, *told = await insist(lambda: self._run("admit", deposit.account, names, words), HOLD_PATIENCE)
        if answer == b"SHORT":
            raise InsufficientTokens(available_of(answer, *told))
        verdict = verdict_of(charges, slots, told[0])
        limits.require_room(verdict)
        return verdict, Hold(deposit.hold_id, int(told[1]))

    async def conclude(
        self,
        settlement: Settlement,
        fence: int,
        base: int,
        entries: Sequence[bytes],
        ending: Ending,
        by: Answered | None = None,
    ) -> tuple[Appended, int]:
        if not self._connection.is_one_server:
            return await self._separate.conclude(settlement, fence, base, entries, ending, by)
        words: list[Word] = [settlement.hold_id, require_tokens(settlement.cost or 0)]
        words += self._store.append_words(fence, base, entries, ending, by)
        names = appended_keys(settlement.hold_id, ending)
        standing, tail, charged = await self._run("conclude", settlement.account, names, words)
        return Appended(Standing(standing.decode()), tail), int(charged)

    async def _run(self, verb: str, account: Account, names: Sequence[str], words: Sequence[Word]) -> Any:
        at = AccountKeys.of(account)
        reply = await self._connection.run(
            script(f"till/{verb}"), [at.balance, at.holds, at.history, *names], [*self._ledger.preamble(), *words]
        )
        if reply == UNUSABLE:
            raise StoreUnavailable(NO_INTEGER)
        return reply
