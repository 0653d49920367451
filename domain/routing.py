"""The route of a request: whom to ask for it, in which order, with which keys."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import random
from typing import TypeAlias

from domain import tokens
from domain.chat import ChatRequest
from domain.errors import ContextLengthExceeded, NoApiKey, TenantMisconfigured
from domain.providers import Planner, Target
from domain.routes import Place, RouteRule
from domain.tenants import Caller, Tenant

#: A number from 0 to 1, a new one each time.
Draw: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Route:
    """Whom a request is for and whom it may go to, the first one first.

    ``larger`` are asked only where the prompt is too long for whom it was sent to. ``reroute_filtered`` says whether
    what a content filter refuses may be tried elsewhere.
    """

    asked: Target
    targets: tuple[Target, ...]
    larger: tuple[Target, ...] = ()
    reroute_filtered: bool = False

    @property
    def first(self) -> Target:
        return self.targets[0]


def names_provider(caller: Caller, request: ChatRequest) -> bool:
    """Whether the caller chose the provider, by path or in the body."""
    return caller.provider is not None or request.provider is not None


@dataclass(frozen=True, slots=True)
class Router:
    """Makes routes of what a tenant's document says. ``draw`` chooses among shares and keys."""

    planner: Planner
    draw: Draw = random

    def route(self, caller: Caller, request: ChatRequest, *, named: bool | None = None) -> Route:
        """The route of a request, without keys. ``named`` says whether its caller chose the provider, where the request
        itself does not tell.

        Raises:
            SluiceError: as ``Planner.plan``.
        """
        asked = self.planner.plan(caller, request)
        if not caller.tenant.routes:
            return Route(asked, (asked,))
        name = self.planner.asked(caller, request)
        if named is None:
            named = names_provider(caller, request)
        for rule in caller.tenant.routes:
            if rule.covers(asked.provider.id, name, named=named):
                return self._ruled(rule, caller.tenant, asked, name)
        return Route(asked, (asked,))

    def fitting(self, route: Route, prompt_tokens: int, request: ChatRequest) -> Route:
        """The route for a prompt of so many tokens: without whom it does not fit, and through the larger ones where
        it does not fit the first.

        Raises:
            ContextLengthExceeded: it fits neither.
        """
        if _fits(route.first, prompt_tokens, request):
            if len(route.targets) == 1:
                return route
            return replace(route, targets=_those_that_fit(route.targets, prompt_tokens, request))
        larger = _those_that_fit(route.larger, prompt_tokens, request)
        if not larger:
            tokens.require_fit(route.first.model.context_window, prompt_tokens, request)
        return replace(route, targets=larger, larger=())

    def with_keys(self, route: Route, tenant: Tenant) -> Route:
        """The route with addresses and keys: a provider with several is as many targets.

        Raises:
            NoApiKey, TenantMisconfigured: the first has no key or no address; of the others, those are left out.
        """
        first, *others = route.targets
        targets = [*self._turned(self.planner.keyed(first, tenant)), *self._keyed(others, tenant)]
        return replace(route, targets=tuple(targets), larger=tuple(self._keyed(route.larger, tenant)))

    def _keyed(self, targets: Sequence[Target], tenant: Tenant) -> Iterator[Target]:
        for target in targets:
            with suppress(NoApiKey, TenantMisconfigured):
                yield from self._turned(self.planner.keyed(target, tenant))

    def _turned(self, keyed: tuple[Target, ...]) -> tuple[Target, ...]:
        """The same keys, beginning with any: none is used more than the others."""
        if len(keyed) == 1:
            return keyed
        at = min(int(self.draw() * len(keyed)), len(keyed) - 1)
        return keyed[at:] + keyed[:at]

    def _ruled(self, rule: RouteRule, tenant: Tenant, asked: Target, name: str) -> Route:
        shared = self._found(self._shuffled(rule.share), tenant, name)
        targets = _distinct([*(shared or [asked]), *self._found(rule.fallbacks, tenant, name)])
        larger = _distinct(self._found(rule.larger, tenant, name))
        return Route(asked, targets, larger, rule.reroute_filtered)

    def _found(self, places: Sequence[Place], tenant: Tenant, name: str) -> list[Target]:
        """The targets at these places; what is not registered, or does not have the model, is left out."""
        found = (self.planner.at(tenant, place.provider, place.model or name) for place in places)
        return [target for target in found if target is not None]

    def _shuffled(self, places: Sequence[Place]) -> list[Place]:
        """The places in an order in which each is first as often as its weight says."""
        left, order = list(places), []
        while left:
            mark, at = self.draw() * sum(place.weight for place in left), 0
            while at < len(left) - 1 and mark >= left[at].weight:
                mark -= left[at].weight
                at += 1
            order.append(left.pop(at))
        return order


def _distinct(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Each model of each provider once, where it comes first."""
    first: dict[tuple[str, str], Target] = {}
    for target in targets:
        first.setdefault((target.provider.id, target.sent_model), target)
    return tuple(first.values())


def _fits(target: Target, prompt_tokens: int, request: ChatRequest) -> bool:
    try:
        tokens.require_fit(target.model.context_window, prompt_tokens, request)
    except ContextLengthExceeded:
        return False
    return True


def _those_that_fit(targets: Sequence[Target], prompt_tokens: int, request: ChatRequest) -> tuple[Target, ...]:
    return tuple(target for target in targets if _fits(target, prompt_tokens, request))
