"""Which meters a request is charged, and which slots its run takes: of its tenant, its group and its user."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from domain.errors import DailyTokensSpent, RateLimited
from domain.ledger import Account
from domain.rate import Allowance, Charge, Slot, Verdict
from domain.tenants import ANONYMOUS, Group, GroupId, Limits, Tenant, UserId, is_nobody

_DAY = "day:"
#: Scopes, and limits, that are remembered.
_REMEMBERED = 4_096


class _Names(NamedTuple):
    """The names of the meters and of the places that a scope has: the tenant, a group, or a user."""

    requests: str
    tokens: str
    runs: str


def charges(tenant: Tenant, account: Account, *, tokens: int, cost: int, requests: int = 1) -> tuple[Charge, ...]:
    """What a request takes from the meters: so many tokens, which cost ``cost`` tokens of the balance."""
    return (*_per_minute(tenant, account, tokens, requests), *_daily(tenant, account, cost))


def slots(tenant: Tenant, account: Account, run_id: str, seconds: float) -> tuple[Slot, ...]:
    """The slots that a run takes while it goes on; without being kept, each lapses after so many seconds."""
    return tuple(
        Slot(names.runs, limits.concurrent_runs, run_id, seconds)
        for names, limits in _scopes(tenant, account)
        if limits.concurrent_runs is not None
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
    for names, limits in _scopes(tenant, account):
        if limits.requests_per_minute is not None:
            yield Charge(names.requests, "requests", _a_minute(limits.requests_per_minute), requests)
        if limits.tokens_per_minute is not None:
            yield Charge(names.tokens, "tokens", _a_minute(limits.tokens_per_minute), tokens)


def _daily(tenant: Tenant, account: Account, cost: int) -> Iterator[Charge]:
    group = tenant.groups.get(account.group)
    if group is None or group.daily_tokens is None:
        return
    # Whoever is anonymous is new each time: a budget of their own would be none.
    whose = f"group:{group.id}" if group.id == ANONYMOUS else f"user:{group.id}:{account.user}"
    yield Charge(f"{_DAY}{whose}", "tokens", Allowance(group.daily_tokens, 86_400.0), cost, daily=True)


def _scopes(tenant: Tenant, account: Account) -> Iterable[tuple[_Names, Limits]]:
    group = tenant.groups.get(account.group) or Group(account.group)
    scopes = _names(group.id, None if is_nobody(account.group, account.user) else account.user)
    # Nobody has no limits of their own: the last of these is left out.
    return zip(scopes, (tenant.limits, group.limits, group.user_limits), strict=False)


# Each request asks for the same names and allowances, at its beginning and at its end.


@lru_cache(_REMEMBERED)
def _names(group: GroupId, user: UserId | None) -> tuple[_Names, ...]:
    prefixes = ["", f"group:{group}:"] + ([f"user:{group}:{user}:"] if user is not None else [])
    return tuple(_Names(f"{prefix}rpm", f"{prefix}tpm", f"{prefix}runs") for prefix in prefixes)


@lru_cache(_REMEMBERED)
def _a_minute(limit: int) -> Allowance:
    return Allowance(limit)
