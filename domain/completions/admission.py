"""Admission: every check that a request must pass before anything is spent, in the order that callers can rely on."""

from dataclasses import dataclass

from domain import limits, tokens
from domain.chat import ChatRequest
from domain.completions.till import give_back, take_hold, takes_nothing
from domain.errors import InsufficientTokens, StoreUnavailable
from domain.ledger import Account, Deposit, Hold
from domain.ports import Ledger, RateLimiter, Till, Tokenizer
from domain.providers import Target
from domain.rate import Charge, Slot, Verdict
from domain.routing import Route, Router
from domain.tenants import Caller, Tenant, is_nobody

#: Seconds that what was set aside stays so, and that a run keeps its slots, without its owner saying that it goes on.
#: Both outlast several looks of it.
HOLD_SECONDS = 120.0
SLOT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that nothing speaks against but, maybe, limits and balance: where it goes, and what it may cost.

    ``charges`` are what it takes from the meters, ``estimate`` the tokens among them; ``bound`` is the most tokens that
    the answer can have. ``slots`` are what its run takes of the limits on runs at once.
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
    charges: tuple[Charge, ...]
    slots: tuple[Slot, ...]

    @property
    def target(self) -> Target:
        """Who is asked first: what is set aside is what that one may cost."""
        return self.route.first


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run, and what was set aside for it.

    ``completion_bound`` is the bound to send upstream where the token policy lowers the request's own.
    """

    prepared: Prepared
    verdict: Verdict
    hold: Hold
    completion_bound: int | None


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of a completion."""

    router: Router
    tokenizer: Tokenizer
    limiter: RateLimiter
    ledger: Ledger
    till: Till

    async def admit(self, caller: Caller, request: ChatRequest, run_id: str) -> Admitted:
        """Model, context window, group, key, rate, balance: the first that fails is what the caller is told.

        Raises:
            InvalidRequest, ModelNotSupported, ContextLengthExceeded, InvalidGroup, NoApiKey, RateLimited or
            DailyTokensSpent, InsufficientTokens: in this order.
            StoreUnavailable: rate or balance cannot be told, so nothing may be spent.
        """
        prepared = await self.prepare(caller, request, run_id)
        deposit = _deposit(prepared, HOLD_SECONDS)
        verdict, hold = await self.till.admit(caller.tenant.id, prepared.charges, prepared.slots, deposit)
        return _admitted(prepared, verdict, hold)

    async def prepare(self, caller: Caller, request: ChatRequest, run_id: str, *, queued: bool = False) -> Prepared:
        """All checks up to the rate; a queued run takes no slot, as it does not go on yet.

        Raises:
            SluiceError: as ``admit``, up to NoApiKey.
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
            _charges(caller.tenant, account, target, estimate),
            () if queued else limits.slots(caller.tenant, account, run_id, SLOT_SECONDS),
        )

    async def take(self, prepared: Prepared) -> Verdict:
        """What a request needs of the limits, by itself: for one that may turn out to need nothing of the balance.

        Raises:
            RateLimited, DailyTokensSpent: there is no room.
            StoreUnavailable: the limiter cannot tell.
        """
        verdict = await self.limiter.take(prepared.caller.tenant.id, prepared.charges, prepared.slots)
        limits.require_room(verdict)
        return verdict

    async def reserve(self, prepared: Prepared, verdict: Verdict, *, waiting: float = 0.0) -> Admitted:
        """The last check: what the request may cost is set aside, for ``waiting`` seconds longer where it queues.

        Raises:
            InsufficientTokens: there is too little; the rate is given back.
            StoreUnavailable: the balance cannot be told.
        """
        try:
            hold = await take_hold(self.ledger, _deposit(prepared, HOLD_SECONDS + waiting))
        except (InsufficientTokens, StoreUnavailable) as refusal:
            if takes_nothing(refusal, verdict):
                await give_back(self.limiter, prepared.caller.tenant.id, prepared.charges, prepared.slots, verdict)
            raise
        return _admitted(prepared, verdict, hold)

    async def waive(self, prepared: Prepared, verdict: Verdict) -> None:
        """Give back what ``take`` took, as no provider is asked: whose answer is another's must not use up what the
        tenant's others may ask. It counts as a request still.
        """
        taken = [charge for charge in prepared.charges if charge.what != "requests"]
        await give_back(self.limiter, prepared.caller.tenant.id, taken, prepared.slots, verdict)

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


def _deposit(prepared: Prepared, seconds: float) -> Deposit:
    policy, account = prepared.caller.tenant.policy, prepared.account
    asked = tokens.reservation(policy, prepared.prompt_tokens, prepared.bound, prepared.target.model.weight)
    lasting = not is_nobody(account.group, account.user)
    return Deposit(account, prepared.run_id, asked.wanted, asked.least, prepared.initial_tokens, seconds, lasting)


def _admitted(prepared: Prepared, verdict: Verdict, hold: Hold) -> Admitted:
    bound = tokens.clamped_bound(
        prepared.caller.tenant.policy,
        held=hold.amount,
        prompt_tokens=prepared.prompt_tokens,
        request=prepared.request,
        weight=prepared.target.model.weight,
    )
    return Admitted(prepared, verdict, hold, bound)


def _charges(tenant: Tenant, account: Account, target: Target, estimate: int) -> tuple[Charge, ...]:
    cost = tokens.weighed(estimate, target.model.weight)
    return limits.charges(tenant, account, tokens=estimate, cost=cost)
