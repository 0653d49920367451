"""Admission: every check that a request must pass before anything is spent, in the order that callers can rely on."""

from dataclasses import dataclass, replace

from domain import tokens
from domain.chat import ChatRequest
from domain.errors import InsufficientTokens, RateLimited, StoreUnavailable
from domain.ports import Account, Hold, Ledger, RateLimiter, Tokenizer
from domain.providers import Planner, Target
from domain.rate import Verdict
from domain.tenants import Caller, is_nobody


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that the tenant's limits admit: where it goes, and what it may cost.

    ``estimate`` is what the tokens-per-minute meter was charged, ``bound`` the most tokens that the answer can have.
    """

    caller: Caller
    request: ChatRequest
    target: Target
    account: Account
    initial_tokens: int
    prompt_tokens: int
    bound: int
    estimate: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run: where it goes, what it may cost, and what was set aside for it.

    ``estimate`` is what the tokens-per-minute meter was charged; ``completion_bound`` is the bound to send upstream
    where the token policy lowers the request's own.
    """

    target: Target
    account: Account
    hold: Hold
    prompt_tokens: int
    estimate: int
    completion_bound: int | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of a completion. ``hold_seconds`` must outlast a run: its time in the queue and its whole answer."""

    planner: Planner
    tokenizer: Tokenizer
    limiter: RateLimiter
    ledger: Ledger
    hold_seconds: float

    async def admit(self, caller: Caller, request: ChatRequest, run_id: str) -> Admitted:
        """Model, context window, group, key, rate, balance: the first that fails is what the caller is told.

        Raises:
            InvalidRequest, ModelNotSupported, ContextLengthExceeded, InvalidGroup, NoApiKey, RateLimited,
            InsufficientTokens: in this order.
            StoreUnavailable: rate or balance cannot be told, so nothing may be spent.
        """
        return await self.reserve(await self.prepare(caller, request), run_id)

    async def prepare(self, caller: Caller, request: ChatRequest) -> Prepared:
        """All checks up to the rate, which is taken.

        Raises:
            SluiceError: as ``admit``, without InsufficientTokens.
        """
        target = self.planner.plan(caller, request)
        prompt_tokens = await self._count(target, request)
        tokens.require_fit(target.model.context_window, prompt_tokens, request)
        group = caller.tenant.group(caller.group)
        target = self.planner.with_key(target, caller.tenant)
        bound = self._bound(target, request, prompt_tokens)
        estimate = tokens.rate_estimate(request, prompt_tokens, bound)
        verdict = await self._take_rate(caller, estimate)
        account = Account(caller.tenant.id, group.id, caller.user)
        return Prepared(caller, request, target, account, group.initial_tokens, prompt_tokens, bound, estimate, verdict)

    async def reserve(self, prepared: Prepared, run_id: str) -> Admitted:
        """The last check: what the request may cost is set aside.

        Raises:
            InsufficientTokens: there is too little; the rate is given back.
            StoreUnavailable: the balance cannot be told.
        """
        caller = prepared.caller
        try:
            hold = await self._take_hold(prepared, run_id)
        except InsufficientTokens:
            await self._give_back_rate(prepared, requests=True)
            raise
        clamp = tokens.clamped_bound(
            caller.tenant.policy,
            held=hold.amount,
            prompt_tokens=prepared.prompt_tokens,
            request=prepared.request,
        )
        return Admitted(
            prepared.target,
            prepared.account,
            hold,
            prepared.prompt_tokens,
            prepared.estimate,
            clamp,
            prepared.verdict,
        )

    async def waive(self, prepared: Prepared) -> None:
        """The request is answered without a provider: it counts as a request, but not by its tokens."""
        await self._give_back_rate(prepared, requests=False)

    async def reading(self, caller: Caller) -> Verdict:
        """What the tenant's meters say, for a request that takes nothing from them."""
        charges = [replace(charge, cost=0) for charge in caller.tenant.charges(0)]
        return await self.limiter.take(caller.tenant.id, charges)

    async def _count(self, target: Target, request: ChatRequest) -> int:
        measure = tokens.measure(request, target.model.images)
        return measure.overhead + await self.tokenizer.count(target.model.tokenizer, measure.texts)

    def _bound(self, target: Target, request: ChatRequest, prompt_tokens: int) -> int:
        return tokens.completion_bound(
            request,
            window=target.model.context_window,
            max_output_tokens=target.model.max_output_tokens,
            prompt_tokens=prompt_tokens,
        )

    async def _take_rate(self, caller: Caller, estimate: int) -> Verdict:
        charges = caller.tenant.charges(estimate)
        verdict = await self.limiter.take(caller.tenant.id, charges)
        if not verdict.allowed:
            raise RateLimited(verdict)
        return verdict

    async def _give_back_rate(self, prepared: Prepared, *, requests: bool) -> None:
        """Undo ``_take_rate``: a caller without a balance must not use up what the tenant's others may ask."""
        tenant = prepared.caller.tenant
        for charge in tenant.charges(prepared.estimate):
            if charge.what == "requests" and not requests:
                continue
            try:
                await self.limiter.correct(tenant.id, replace(charge, cost=-charge.cost), prepared.verdict.at)
            except StoreUnavailable:
                # Within a minute or so the meter has forgotten it.
                return

    async def _take_hold(self, prepared: Prepared, run_id: str) -> Hold:
        account = prepared.account
        asked = tokens.reservation(prepared.caller.tenant.policy, prepared.prompt_tokens, prepared.bound)
        return await self.ledger.hold(
            account,
            run_id,
            wanted=asked.wanted,
            least=asked.least,
            initial=prepared.initial_tokens,
            seconds=self.hold_seconds,
            lasting=not is_nobody(account.group, account.user),
        )
