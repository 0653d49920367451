"""Which meters a request is charged, and which slots its run takes: of its tenant, its group and its user."""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.errors import DailyTokensSpent, RateLimited
from domain.ledger import Account
from domain.rate import Allowance, Charge, Slot, Verdict
from domain.tenants import ANONYMOUS, Group, Limits, Tenant, is_nobody

_DAY = "day:"


@dataclass(frozen=True, slots=True)
class Scope:
    """Limits, and the prefix that the names of their meters have."""

    prefix: str
    limits: Limits


def charges(tenant: Tenant, account: Account, *, tokens: int, cost: int, requests: int = 1) -> tuple[Charge, ...]:
    """What a request takes from the meters: so many tokens, which cost ``cost`` tokens of the balance."""
    return (*_per_minute(tenant, account, tokens, requests), *_daily(tenant, account, cost))


def slots(tenant: Tenant, account: Account, run_id: str, seconds: float) -> tuple[Slot, ...]:
    """The slots that a run takes while it goes on; without being kept, each lapses after so many seconds."""
    return tuple(
        Slot(f"{scope.prefix}runs", scope.limits.concurrent_runs, run_id, seconds)
        for scope in _scopes(tenant, account)
        if scope.limits.concurrent_runs is not None
    )


def require_room(verdict: Verdict) -> None:
    """Raise unless the limits admitted a request.

    Raises:
        RateLimited, DailyTokensSpent: they did not.
    """
    if not verdict.allowed:
        is_daily = verdict.meter is not None and verdict.meter.startswith(_DAY)
        raise DailyTokensSpent(verdict) if is_daily else RateLimited(verdict)


def _per_minute(tenant: Tenant, account: Account, tokens: int, requests: int) -> Iterator[Charge]:
    for scope in _scopes(tenant, account):
        limits = scope.limits
        if limits.requests_per_minute is not None:
            yield Charge(f"{scope.prefix}rpm", "requests", Allowance(limits.requests_per_minute), requests)
        if limits.tokens_per_minute is not None:
            yield Charge(f"{scope.prefix}tpm", "tokens", Allowance(limits.tokens_per_minute), tokens)


def _daily(tenant: Tenant, account: Account, cost: int) -> Iterator[Charge]:
    group = tenant.groups.get(account.group)
    if group is None or group.daily_tokens is None:
        return
    # Whoever is anonymous is new each time: a budget of their own would be none.
    whose = f"group:{group.id}" if group.id == ANONYMOUS else f"user:{group.id}:{account.user}"
    yield Charge(f"{_DAY}{whose}", "tokens", Allowance(group.daily_tokens, 86_400.0), cost, daily=True)


def _scopes(tenant: Tenant, account: Account) -> Iterator[Scope]:
    group = tenant.groups.get(account.group, Group(account.group))
    yield Scope("", tenant.limits)
    yield Scope(f"group:{group.id}:", group.limits)
    if not is_nobody(account.group, account.user):
        yield Scope(f"user:{group.id}:{account.user}:", group.user_limits)
