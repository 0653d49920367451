"""Providers and models, as this replica knows them."""

from dataclasses import dataclass

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.errors import UnknownProvider
from domain.chat import JsonObject
from domain.errors import ModelNotSupported
from domain.models import Model
from domain.providers import Planner, ProviderSpec
from entrypoints.http.admin.routes import Ask, Route


@dataclass(frozen=True, slots=True)
class CatalogueOf:
    """Handlers of ``/providers`` and ``/models``."""

    planner: Planner

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/providers", Access.READ, self.providers, "The registered providers."),
            Route("GET", "/providers/{provider_id}", Access.READ, self.provider, "One provider, and its models."),
            Route("GET", "/models", Access.READ, self.models, "The models of the catalogue."),
            Route("GET", "/models/{model}", Access.READ, self.model, "One model."),
        )

    async def providers(self, ask: Ask) -> HTTPResponse:
        ask.query()
        return ask.answer({"data": [_provider(spec) for spec in self.planner.registry]})

    async def provider(self, ask: Ask) -> HTTPResponse:
        spec = self.planner.registry.get(ask.parts["provider_id"])
        if spec is None:
            raise UnknownProvider
        served = [model.name for model in self.planner.catalogue.served_by(spec.id)]
        return ask.answer({**_provider(spec), "served_models": served})

    async def models(self, ask: Ask) -> HTTPResponse:
        ask.query()
        return ask.answer({"data": [_model(model) for model in self.planner.catalogue]})

    async def model(self, ask: Ask) -> HTTPResponse:
        for model in self.planner.catalogue:
            if model.name == ask.parts["model"]:
                return ask.answer(_model(model))
        raise ModelNotSupported(ask.parts["model"])


def _provider(spec: ProviderSpec) -> JsonObject:
    # Not its fixed headers: they may hold the operator's key.
    return {
        "id": spec.id,
        "name": spec.name,
        "base_url": spec.base_url,
        "key": spec.key,
        "models": spec.models,
        "default_model": spec.default_model,
        "variables": list(spec.variables),
    }


def _model(model: Model) -> JsonObject:
    return {
        "id": model.name,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "weight": model.weight,
        "owned_by": model.owned_by,
        "providers": dict(model.names),
    }
