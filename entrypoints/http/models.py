"""The models that a caller may use, in OpenAI's list form."""

from dataclasses import replace

import orjson
from sanic import HTTPResponse

from domain.chat import JsonObject
from domain.errors import ModelNotSupported
from domain.models import Model
from domain.providers import Planner
from domain.tenants import Caller
from entrypoints.http.exchange import Exchange, json_response


def list_models(exchange: Exchange, planner: Planner, caller: Caller) -> HTTPResponse:
    data = [_shown(model) for model in planner.models_for(caller)]
    return json_response(orjson.dumps({"object": "list", "data": data}), exchange)


def show_model(exchange: Exchange, planner: Planner, caller: Caller, name: str) -> HTTPResponse:
    """One model of the list; asking for another is 404 on every surface, as OpenAI has it."""
    for model in planner.models_for(caller):
        # By its own name, a provider's or an alias, as in a request.
        served_by = model.names if caller.provider is None else (caller.provider,)
        if any(model.name_at(provider_id, name) is not None for provider_id in served_by):
            return json_response(orjson.dumps({**_shown(model), "id": name}), exchange)
    exchange.manners = replace(exchange.manners, model_status=404)
    raise ModelNotSupported(name)


def _shown(model: Model) -> JsonObject:
    # OpenAI's "created" is when it published the model, which nobody else tells.
    return {"id": model.name, "object": "model", "created": 0, "owned_by": model.owned_by}
