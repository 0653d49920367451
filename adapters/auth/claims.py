"""What the claims of a verified token mean: until when it is good, and whom it speaks for. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from adapters.auth.refusal import invalid_token
from domain.ids import is_id, user_id
from domain.tenants import GroupId, Principal, TenantId, UserId

#: How far the issuer's clock may be from ours, in seconds.
LEEWAY = 30
DAY = 24 * 60 * 60
#: The widest integer that every JSON reader keeps exact.
_LAST_MOMENT = 2**53


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Which claim says what; all are top-level.

    ``tenants`` is a list of tenant ids, ``tenant`` a single one where there is no list. ``groups`` maps a tenant to the
    user's group there, ``group`` is the one in all other tenants of the token. ``scope`` is a space-separated list.
    """

    user: str = "sub"
    tenants: str = "tenants"
    tenant: str = "tenant_id"
    groups: str = "groups"
    group: str = "group"
    scope: str = "scope"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the word of one party goes, where there are several: patterns of the tenants and the scopes that it may
    give, None for all of them, and what stands before the names of its users, who are then nobody else's.
    """

    tenants: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    user_prefix: str = ""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Verified:
    """A principal, and the Unix second from which its token is no longer good, leeway included.

    ``stands`` tells whether what vouched for it would still do so: an issuer may take a key back. It must be cheap.
    """

    principal: Principal
    expires: float
    stands: Callable[[], bool] = _always


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """How claims are judged. ``max_lifetime`` is in seconds from now, None for no limit."""

    names: ClaimMap = ClaimMap()
    max_lifetime: int | None = DAY
    reach: Reach = Reach()

    def judge(self, claims: Mapping[str, Any], now: float) -> Verified:
        """The principal of a token's claims at ``now``, in Unix seconds.

        Raises:
            NotAuthenticated: the token is not good now, names nobody, or is of use only together with a key.
        """
        expires = _require_current(claims, now, self.max_lifetime)
        # https://www.rfc-editor.org/rfc/rfc9449#section-7.1: taken as a bearer token, a stolen one would be good.
        if "cnf" in claims:
            raise invalid_token("The token is bound to a key, and is no bearer token.")
        return Verified(principal(claims, self.names, self.reach), expires)


#: The contract's claims, and a day at most.
DEFAULT_RULES = ClaimRules()


def require_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Raise NotAuthenticated unless the token is meant for ``audience``, alone or among others."""
    named = claims.get("aud")
    if named != audience and not (isinstance(named, list) and audience in named):
        raise invalid_token("The token is for another audience.")


def principal(claims: Mapping[str, Any], names: ClaimMap, reach: Reach = Reach()) -> Principal:
    """Whom these claims speak for. What is no tenant's id, or out of reach, gives access to nothing and is left out.

    Raises:
        NotAuthenticated: there is no user, or a group of one of the tenants is no id.
    """
    tenants = frozenset(tenant for tenant in _tenants(claims, names) if _within(tenant, reach.tenants))
    scope = claims.get(names.scope)
    scopes = scope.split() if isinstance(scope, str) else []
    return Principal(
        user=_user(claims.get(names.user), reach.user_prefix),
        tenants=tenants,
        groups=_groups(claims, names, tenants),
        scopes=frozenset(each for each in scopes if _within(each, reach.scopes)),
    )


def _within(name: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _user(subject: object, prefix: str) -> UserId:
    if not isinstance(subject, str) or not subject:
        raise invalid_token("The token names no user.")
    return user_id(prefix + subject)


def _tenants(claims: Mapping[str, Any], names: ClaimMap) -> Iterator[TenantId]:
    named = claims.get(names.tenants)
    for tenant in named if isinstance(named, list) else [claims.get(names.tenant)]:
        if isinstance(tenant, str) and is_id(tenant):
            yield tenant


def _groups(claims: Mapping[str, Any], names: ClaimMap, tenants: frozenset[TenantId]) -> dict[TenantId, GroupId]:
    # A list of groups, as many issuers send one for other ends, says nothing about tenants.
    by_tenant = claims.get(names.groups)
    everywhere = claims.get(names.group)
    groups = {tenant: everywhere for tenant in tenants if everywhere is not None}
    if isinstance(by_tenant, dict):
        groups |= {tenant: group for tenant, group in by_tenant.items() if tenant in tenants}
    # Without this a misspelt group would fall back to the tenant's default, which may be allowed more.
    if not all(is_id(group) for group in groups.values()):
        raise invalid_token("The token names a group that cannot exist.")
    return groups


def _require_current(claims: Mapping[str, Any], now: float, max_lifetime: int | None) -> int:
    expires = _moment(claims, "exp")
    if expires is None:
        raise invalid_token("The token has no expiry.")
    if expires + LEEWAY <= now:
        raise invalid_token("The token has expired.")
    if max_lifetime is not None and expires - now > max_lifetime + LEEWAY:
        raise invalid_token("The token is good for longer than is accepted here.")
    for name in ("nbf", "iat"):
        since = _moment(claims, name)
        if since is not None and since - LEEWAY > now:
            raise invalid_token("The token is not good yet.")
    return expires + LEEWAY


def _moment(claims: Mapping[str, Any], name: str) -> int | None:
    if name not in claims:
        return None
    value = claims[name]
    # A bool is an int to Python, a string or a float may be whatever the reader makes of it.
    if type(value) is not int or not 0 < value <= _LAST_MOMENT:
        raise invalid_token(f"The token's {name} is not a time.")
    return value
