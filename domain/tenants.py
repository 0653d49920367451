"""Tenants, their groups and their members: who may use what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from domain.errors import GroupForbidden, InvalidGroup, TenantForbidden
from domain.models import Model
from domain.routes import RouteRule
from domain.tokens import TokenPolicy

TenantId: TypeAlias = str
GroupId: TypeAlias = str
UserId: TypeAlias = str

ANY_ORIGIN = "*"
#: In the place of a group's id, which cannot have this form: all groups of the tenant.
EVERY_GROUP = "*"
#: The group whose members need no token; each of its requests is a new user.
ANONYMOUS: GroupId = "anonymous"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant, a group or a user may use in a minute, and how many runs at once; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_runs: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a tenant's users. ``initial_tokens`` are granted to a member who has no balance yet.

    ``models`` are patterns of the names that the group may ask for; None is every model of the tenant. ``limits`` are
    for the group together, ``user_limits`` for each of its users. ``daily_tokens`` is what each of them may spend in a
    UTC day; of a group that anybody can be in, all of them together.
    """

    id: GroupId
    initial_tokens: int = 0
    models: tuple[str, ...] | None = None
    limits: Limits = Limits()
    user_limits: Limits = Limits()
    daily_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One team behind the gateway: its groups, the provider keys it pays with, its limits.

    ``own_providers`` maps the id of a provider that it brings to its base URL, where the operator allows that.
    ``api_keys`` maps a provider's id to its keys, ``provider_options`` to what fills the placeholders of its address.
    ``detach_grace`` is how many seconds a run goes on that nobody reads any more, None for to its end;
    ``cache_seconds``, how long an answer is kept for its cache key; ``cache_charged``, whether it costs what it would
    have cost otherwise. Of the ``routes``, the first that covers a request is its own. ``allowed_origins`` are those of
    the pages that may read its answers in a browser. ``cache_generations`` says by group, or for ``EVERY_GROUP``, how
    often kept answers were to be forgotten.
    """

    id: TenantId
    groups: Mapping[GroupId, Group]
    api_keys: Mapping[str, tuple[str, ...]]
    default_provider: str | None = None
    default_model: str | None = None
    default_group: GroupId | None = None
    own_models: Mapping[str, Model] = field(default_factory=dict)
    allowed_models: tuple[str, ...] | None = None
    limits: Limits = Limits()
    policy: TokenPolicy = TokenPolicy.PREPAID
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    detach_grace: float | None = None
    cache_seconds: float = 3_600.0
    cache_charged: bool = False
    routes: tuple[RouteRule, ...] = ()
    own_providers: Mapping[str, str] = field(default_factory=dict)
    allowed_origins: frozenset[str] = frozenset()
    cache_generations: Mapping[str, int] = field(default_factory=dict)

    def cache_generation(self, group_id: GroupId) -> str:
        """What the names of the group's kept answers depend on; empty where none were ever to be forgotten."""
        numbers = [self.cache_generations.get(whose, 0) for whose in (EVERY_GROUP, group_id)]
        return ":".join(map(str, numbers)) if any(numbers) else ""

    def welcomes(self, origin: str) -> bool:
        """Whether pages of this origin may read the tenant's answers; ``*`` among the allowed ones is all of them."""
        return origin in self.allowed_origins or ANY_ORIGIN in self.allowed_origins

    def group(self, group_id: GroupId | None) -> Group:
        """The group of this id.

        Raises:
            InvalidGroup: the tenant has no such group.
        """
        group = self.groups.get(group_id) if group_id is not None else None
        if group is None:
            raise InvalidGroup
        return group

    def allows(self, model: str, group_id: GroupId | None) -> bool:
        """Whether the tenant, and its group where there is one of this id, may ask for the model of this name."""
        group = self.groups.get(group_id) if group_id is not None else None
        return _matches(model, self.allowed_models) and (group is None or _matches(model, group.models))


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a verified token speaks for. ``groups`` maps a tenant to the user's group there."""

    user: UserId
    tenants: frozenset[TenantId]
    groups: Mapping[TenantId, GroupId] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, once a surface has settled it. ``provider`` is the one that the surface's path names."""

    tenant: Tenant
    group: GroupId | None
    user: UserId
    provider: str | None = None


def is_nobody(group: GroupId, user: UserId) -> bool:
    """Whether the user was made up for one request; a signed-in member of the anonymous group is somebody."""
    return group == ANONYMOUS and user.startswith(f"{ANONYMOUS}-")


def require_member(principal: Principal, tenant_id: TenantId) -> None:
    """Raise TenantForbidden unless the token gives access to the tenant."""
    if tenant_id not in principal.tenants:
        raise TenantForbidden


def group_of(principal: Principal, tenant: Tenant) -> GroupId | None:
    """The group that pays: the token's for this tenant, else the tenant's default."""
    return principal.groups.get(tenant.id, tenant.default_group)


def require_group(principal: Principal, tenant: Tenant, group_id: GroupId) -> None:
    """Raise GroupForbidden unless the caller may act as a member of this group; everybody may be anonymous."""
    if group_id not in (ANONYMOUS, group_of(principal, tenant)):
        raise GroupForbidden


def only_tenant(principal: Principal, named: TenantId | None) -> TenantId:
    """The tenant that a token speaks for: the one named, else its only one.

    Raises:
        TenantForbidden: the named one is not the token's, or none is named and the token has none or several.
    """
    if named is not None:
        require_member(principal, named)
        return named
    if len(principal.tenants) != 1:
        raise TenantForbidden(
            "Your token gives access to several tenants; name one in X-Tenant-Id."
            if principal.tenants
            else "Your token gives access to no tenant."
        )
    return next(iter(principal.tenants))


def _matches(name: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)
