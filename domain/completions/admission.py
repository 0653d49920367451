"""Admission: every check that a request must pass before anything is spent, in the order that callers can rely on."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace

from domain import limits, tokens
from domain.chat import ChatRequest
from domain.completions.patience import insist
from domain.errors import DailyTokensSpent, InsufficientTokens, RateLimited, StoreUnavailable
from domain.ledger import Account, Hold
from domain.ports import Ledger, RateLimiter, Tokenizer
from domain.providers import Target
from domain.rate import Charge, Slot, Verdict
from domain.routing import Route, Router
from domain.tenants import Caller, Tenant, is_nobody

#: Seconds that what was set aside stays so, and that a run keeps its slots, without its owner saying that it goes on.
#: Both outlast several looks of it.
HOLD_SECONDS = 120.0
SLOT_SECONDS = 60.0
#: Seconds for which a hold is asked for again that the store did not answer.
_HOLD_PATIENCE = 0.3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that the limits admit: where it goes, and what it may cost.

    ``estimate`` is what the tokens-per-minute meters were charged, ``bound`` the most tokens that the answer can have.
    ``slots`` are what its run takes of the limits on runs at once.
    """

    caller: Caller
    request: ChatRequest
    run_id: str
    route: Route
    account: Account
    initial_tokens: int
    prompt_tokens: int
    bound: int
    estimate: int
    slots: tuple[Slot, ...]
    verdict: Verdict

    @property
    def target(self) -> Target:
        """Who is asked first: what is set aside is what that one may cost."""
        return self.route.first


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run: where it goes, what it may cost, and what was set aside for it.

    ``estimate`` is what the tokens-per-minute meter was charged; ``completion_bound`` is the bound to send upstream
    where the token policy lowers the request's own.
    """

    route: Route
    account: Account
    hold: Hold
    prompt_tokens: int
    estimate: int
    completion_bound: int | None
    verdict: Verdict

    @property
    def target(self) -> Target:
        """Who is asked first."""
        return self.route.first


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of a completion."""

    router: Router
    tokenizer: Tokenizer
    limiter: RateLimiter
    ledger: Ledger

    async def admit(self, caller: Caller, request: ChatRequest, run_id: str) -> Admitted:
        """Model, context window, group, key, rate, balance: the first that fails is what the caller is told.

        Raises:
            InvalidRequest, ModelNotSupported, ContextLengthExceeded, InvalidGroup, NoApiKey, RateLimited or
            DailyTokensSpent, InsufficientTokens: in this order.
            StoreUnavailable: rate or balance cannot be told, so nothing may be spent.
        """
        return await self.reserve(await self.prepare(caller, request, run_id))

    async def prepare(self, caller: Caller, request: ChatRequest, run_id: str, *, queued: bool = False) -> Prepared:
        """All checks up to the rate, which is taken; a queued run takes no slot, as it does not go on yet.

        Raises:
            SluiceError: as ``admit``, without InsufficientTokens.
        """
        route = self.router.route(caller, request)
        prompt_tokens = await self._count(route.first, request)
        route = self.router.fitting(route, prompt_tokens, request)
        group = caller.tenant.group(caller.group)
        route = self.router.with_keys(route, caller.tenant)
        target = route.first
        bound = self._bound(target, request, prompt_tokens)
        estimate = tokens.rate_estimate(request, prompt_tokens, bound)
        account = Account(caller.tenant.id, group.id, caller.user)
        slots = () if queued else limits.slots(caller.tenant, account, run_id, SLOT_SECONDS)
        charges = _charges(caller.tenant, account, target, estimate)
        verdict = await self.limiter.take(caller.tenant.id, charges, slots)
        if not verdict.allowed:
            raise DailyTokensSpent(verdict) if limits.is_daily(verdict.meter) else RateLimited(verdict)
        return Prepared(
            caller,
            request,
            run_id,
            route,
            account,
            group.initial_tokens,
            prompt_tokens,
            bound,
            estimate,
            slots,
            verdict,
        )

    async def reserve(self, prepared: Prepared, *, waiting: float = 0.0) -> Admitted:
        """The last check: what the request may cost is set aside, for ``waiting`` seconds longer where it queues.

        Raises:
            InsufficientTokens: there is too little; the rate is given back.
            StoreUnavailable: the balance cannot be told.
        """
        tenant = prepared.caller.tenant
        try:
            hold = await self._take_hold(prepared, HOLD_SECONDS + waiting)
        except (InsufficientTokens, StoreUnavailable) as refusal:
            # A share of this replica's own is not to be used up by what cannot be paid for now.
            if prepared.verdict.local or isinstance(refusal, InsufficientTokens):
                await self.waive(prepared, request=True)
            raise
        clamp = tokens.clamped_bound(
            tenant.policy,
            held=hold.amount,
            prompt_tokens=prepared.prompt_tokens,
            request=prepared.request,
            weight=prepared.target.model.weight,
        )
        return Admitted(
            prepared.route,
            prepared.account,
            hold,
            prepared.prompt_tokens,
            prepared.estimate,
            clamp,
            prepared.verdict,
        )

    async def waive(self, prepared: Prepared, *, request: bool = False) -> None:
        """Give back what ``prepare`` took, as no provider is asked: a caller without a balance, or whose answer is
        another's, must not use up what the tenant's others may ask. It counts as a request still, unless ``request``.
        """
        tenant = prepared.caller.tenant
        taken = _charges(tenant, prepared.account, prepared.target, prepared.estimate)
        back = [replace(charge, cost=-charge.cost) for charge in taken if request or charge.what != "requests"]
        try:
            for charge in back:
                await self.limiter.correct(tenant.id, charge, prepared.verdict.at)
            if prepared.slots:
                await self.limiter.free(tenant.id, prepared.slots)
        except StoreUnavailable:
            # Within a minute or so the meters have forgotten it.
            return

    async def reading(self, caller: Caller) -> Verdict:
        """What the meters say, for a request that takes nothing from them."""
        account = Account(caller.tenant.id, caller.group or "", caller.user)
        return await self.limiter.take(
            caller.tenant.id, limits.charges(caller.tenant, account, tokens=0, cost=0, requests=0)
        )

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

    async def _take_hold(self, prepared: Prepared, seconds: float) -> Hold:
        account = prepared.account
        asked = tokens.reservation(
            prepared.caller.tenant.policy, prepared.prompt_tokens, prepared.bound, prepared.target.model.weight
        )

        def hold() -> Awaitable[Hold]:
            return self.ledger.hold(
                account,
                prepared.run_id,
                wanted=asked.wanted,
                least=asked.least,
                initial=prepared.initial_tokens,
                seconds=seconds,
                lasting=not is_nobody(account.group, account.user),
            )

        # Asked again it is the same hold, where otherwise a lost reply would keep the tokens until it lapses.
        return await insist(hold, _HOLD_PATIENCE)


def _charges(tenant: Tenant, account: Account, target: Target, estimate: int) -> tuple[Charge, ...]:
    cost = tokens.weighed(estimate, target.model.weight)
    return limits.charges(tenant, account, tokens=estimate, cost=cost)
