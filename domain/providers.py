"""Providers as declared facts, and the plan: which of them is asked, under which model name, with which keys."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal

from domain.chat import ChatRequest
from domain.errors import InvalidRequest, ModelNotSupported, NoApiKey, TenantMisconfigured
from domain.models import Catalogue, Model, Offer
from domain.tenants import Caller, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class Prefill:
    """How a provider is asked to go on with an assistant's message that stands last: fields of that message, and of the
    body."""

    message: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a provider's dialect of the API deviates from OpenAI's.

    ``rename`` maps a body field to the provider's name for it; ``drop`` lists fields that it refuses;
    ``stream_usage`` says whether usage in a stream must be asked for or comes by itself. ``prefill`` is how it goes on
    with the beginning of its answer, None where it does not.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    developer_role: str | None = None
    stream_usage: Literal["ask", "given"] = "ask"
    finish_reasons: Mapping[str, str] = field(default_factory=dict)
    prefill: Prefill | None = None


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """An OpenAI-compatible provider; the fields are those of ``config/providers.toml``.

    ``owner`` is the tenant that brought it, None for one of the operator's.
    """

    id: str
    name: str
    base_url: str
    key: Literal["required", "optional"] = "required"
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    variables: tuple[str, ...] = ()
    models: Literal["listed", "any"] = "listed"
    default_model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    quirks: Quirks = Quirks()
    owner: TenantId | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: ``sent_model`` is the model's name there. ``key`` is None for a server without keys."""

    provider: ProviderSpec
    model: Model
    sent_model: str
    base_url: str = ""
    key: str | None = field(default=None, repr=False)

    @property
    def key_id(self) -> str:
        """A name for the address and the key, which tells neither."""
        return _digest(self.base_url, self.key)

    @property
    def id(self) -> str:
        """A name for provider, model, address and key: what is well or not well as one."""
        return _target_id(self.provider.id, self.sent_model, self.base_url, self.key)


class ProviderRegistry:
    """The providers that this gateway knows, by id."""

    def __init__(self, specs: Mapping[str, ProviderSpec]) -> None:
        self._specs = dict(specs)

    def __contains__(self, provider_id: str) -> bool:
        return provider_id in self._specs

    def __iter__(self) -> Iterator[ProviderSpec]:
        return iter(self._specs.values())

    def get(self, provider_id: str) -> ProviderSpec | None:
        return self._specs.get(provider_id)


@dataclass(frozen=True, slots=True)
class Planner:
    """Finds the target of a request in two steps, as admission needs them: the model first, its key later."""

    registry: ProviderRegistry
    catalogue: Catalogue
    #: Whether tenants may bring providers of their own.
    guests: bool = False

    def plan(self, caller: Caller, request: ChatRequest) -> Target:
        """The provider and the model that a request is for; no key yet.

        Raises:
            InvalidRequest: the body names an unknown provider, or nobody names a provider or a model.
            ModelNotSupported: this tenant, group or provider does not have the model.
        """
        spec = self._provider(caller, request)
        asked = self.asked(caller, request)
        offer = self.offer(caller.tenant, spec, asked)
        if offer is None or not _allowed(caller, asked, offer.model):
            raise ModelNotSupported(asked)
        return Target(spec, offer.model, offer.sent)

    def asked(self, caller: Caller, request: ChatRequest) -> str:
        """The name of the model that a request is for: its own, else the tenant's default, else the provider's.

        Raises:
            InvalidRequest: nobody names one.
        """
        asked = request.model or caller.tenant.default_model or self._provider(caller, request).default_model
        if asked is None:
            raise InvalidRequest(
                "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
            )
        return asked

    def offer(self, tenant: Tenant, spec: ProviderSpec, asked: str) -> Offer | None:
        """The model of this name at this provider: the tenant's own models come first."""
        own = tenant.own_models.get(asked)
        sent = own.name_at(spec.id, asked) if own is not None else None
        if own is not None and sent is not None:
            return Offer(own, sent)
        found = self.catalogue.find(spec.id, asked)
        if found is None and spec.models == "any":
            return Offer(Model(asked, owned_by=spec.id), asked)
        return found

    def models_for(self, caller: Caller) -> Iterator[Model]:
        """The models that a caller may ask for: of the path's provider, else of all that the tenant has keys for."""
        seen: set[str] = set()
        for spec in self._usable(caller):
            for model in self._served(caller.tenant, spec):
                if model.name not in seen and _allowed(caller, model.name, model):
                    seen.add(model.name)
                    yield model

    def _served(self, tenant: Tenant, spec: ProviderSpec) -> Iterator[Model]:
        yield from (model for model in tenant.own_models.values() if spec.id in model.names)
        yield from self.catalogue.served_by(spec.id)
        if spec.models == "any":
            # Such a provider takes every name; those that somebody chose as a default are known to be there.
            chosen = tenant.default_model if spec.id == tenant.default_provider else None
            names = (name for name in (chosen, spec.default_model) if name)
            yield from (Model(name, owned_by=spec.id, names={spec.id: name}) for name in names)

    def at(self, tenant: Tenant, provider_id: str, asked: str) -> Target | None:
        """A model at a provider, with no key yet; None where there is no such provider, or it has no such model."""
        spec = self._known(tenant, provider_id)
        offer = self.offer(tenant, spec, asked) if spec is not None else None
        return Target(spec, offer.model, offer.sent) if spec is not None and offer is not None else None

    def keyed(self, target: Target, tenant: Tenant) -> tuple[Target, ...]:
        """The target with its address, once for each of the tenant's keys; once without one for a server without keys.

        Raises:
            NoApiKey: the provider wants one and the tenant has none.
            TenantMisconfigured: the tenant has not said what the provider's address needs.
        """
        keys = tenant.api_keys.get(target.provider.id, ())
        if not keys and target.provider.key == "required":
            raise NoApiKey(target.provider.name)
        address = _address(target.provider, tenant)
        return tuple(replace(target, key=key, base_url=address) for key in keys or (None,))

    def _provider(self, caller: Caller, request: ChatRequest) -> ProviderSpec:
        named = caller.provider or request.provider or caller.tenant.default_provider
        if named is None:
            raise InvalidRequest(
                "Missing required parameter: 'provider'; this tenant has no default.",
                param="provider",
                code="missing_required_parameter",
            )
        spec = self._known(caller.tenant, named)
        if spec is None:
            raise InvalidRequest("Unknown provider", param="provider", code="provider_not_found")
        return spec

    def _known(self, tenant: Tenant, provider_id: str) -> ProviderSpec | None:
        """The operator's provider of this id, else the tenant's own."""
        spec = self.registry.get(provider_id)
        address = tenant.own_providers.get(provider_id) if self.guests and spec is None else None
        if address is None:
            return spec
        return ProviderSpec(provider_id, provider_id, address, key="optional", models="any", owner=tenant.id)

    def _usable(self, caller: Caller) -> Iterator[ProviderSpec]:
        for spec in self.registry:
            if caller.provider is not None:
                if spec.id == caller.provider:
                    yield spec
            elif spec.id in caller.tenant.api_keys or spec.id == caller.tenant.default_provider:
                yield spec


def _allowed(caller: Caller, asked: str, model: Model) -> bool:
    # A rule that names the model covers its aliases and its names at providers, and the other way round.
    return caller.tenant.allows(asked, caller.group) or caller.tenant.allows(model.name, caller.group)


@lru_cache(maxsize=4096)
def _digest(base_url: str, key: str | None) -> str:
    return sha256(f"{base_url}\0{key or ''}".encode()).hexdigest()[:12]


@lru_cache(maxsize=4096)
def _target_id(provider_id: str, model: str, base_url: str, key: str | None) -> str:
    return f"{provider_id}:{_digest(base_url, key)}:{model}"


#: A placeholder stands for one DNS label or path segment: nothing that could lead the key to another host.
_PLACEHOLDER_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def _address(spec: ProviderSpec, tenant: Tenant) -> str:
    options = tenant.provider_options.get(spec.id, {})
    address = spec.base_url
    for name in spec.variables:
        given = options.get(name, "")
        if not _PLACEHOLDER_VALUE.fullmatch(given):
            raise TenantMisconfigured
        address = address.replace(f"{{{name}}}", given)
    return address
