"""A LiteLLM proxy's ``config.yaml``: https://docs.litellm.ai/docs/proxy/configs"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from domain.chat import JsonObject
from entrypoints.cli.migration.translation import Translation

#: LiteLLM's prefixes of models, and the providers that ship with Sluice.
_PROVIDERS = {
    "openai": "openai", "azure": "azure-openai", "anthropic": "anthropic", "gemini": "gemini", "groq": "groq",
    "mistral": "mistral", "deepseek": "deepseek", "openrouter": "openrouter", "together_ai": "together",
    "fireworks_ai": "fireworks", "xai": "xai", "perplexity": "perplexity", "cerebras": "cerebras", "ollama": "ollama",
    "ollama_chat": "ollama", "hosted_vllm": "vllm", "openai_like": "openai", "lm_studio": "lm-studio",
}  # fmt: skip
#: Models that LiteLLM knows without a prefix, by how they begin.
_BARE = {"gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "chatgpt": "openai", "claude": "anthropic"}
#: Parameters of a deployment that are translated.
_TAKEN = {"model", "api_key", "api_base", "base_url", "weight", "api_version", "custom_llm_provider"}
_WHY = {
    "rpm": "limits are the tenant's and its groups': `limits.requests_per_minute`",
    "tpm": "limits are the tenant's and its groups': `limits.tokens_per_minute`",
    "api_version": "Azure's v1 API needs none",
    "master_key": "administrators hold a token with the scope sluice:admin",
    "database_url": "everything is in Redis: SLUICE_REDIS_URL",
    "callbacks": "see /metrics, the log, and tracing",
    "success_callback": "see /metrics, the log, and tracing",
    "failure_callback": "see /metrics, the log, and tracing",
    "drop_params": "what a provider does not know is declared in its quirks",
    "num_retries": "retries are built in and bounded",
    "routing_strategy": "shares go by weight, around what fails",
    "cooldown_time": "breakers open and close by themselves",
    "allowed_fails": "breakers open and close by themselves",
    "cache": "answers are kept where a request has a `cache_key`",
    "set_verbose": "SLUICE_LOG_LEVEL",
    "json_logs": "SLUICE_LOG_FORMAT=json",
}
_NOTHING = "has no counterpart"


@dataclass(frozen=True, slots=True)
class _Deployment:
    """One entry of ``model_list``: the name that clients use, who serves it, and under which name."""

    name: str
    provider: str
    sent: str
    weight: float
    where: str


@dataclass(slots=True)
class _Work:
    """A translation under way; ``tenant`` is the one document that it makes."""

    out: Translation
    tenant: JsonObject
    deployments: dict[str, list[_Deployment]] = field(default_factory=dict)


def translate(config: Mapping[str, Any], tenant: str) -> Translation:
    """The configuration as one tenant of Sluice, and whatever providers it needs."""
    document: JsonObject = {"groups": {"everyone": {}}, "default_group": "everyone", "api_keys": {}, "models": {}}
    work = _Work(Translation(tenants={tenant: document}), document)
    for number, entry in enumerate(config.get("model_list") or []):
        _add_deployment(work, entry, f"model_list[{number}]")
    _add_models(work)
    _add_routes(work, config)
    _add_settings(work, config)
    for name in config.keys() - {"model_list", "litellm_settings", "router_settings", "general_settings"}:
        work.out.leave(name, _NOTHING)
    for part in ("api_keys", "models", "provider_options"):
        if not document.get(part):
            document.pop(part, None)
    return work.out


# --- deployments -----------------------------------------------------------------------------------------------------


def _add_deployment(work: _Work, entry: Mapping[str, Any], where: str) -> None:
    name, params = str(entry.get("model_name", "")), entry.get("litellm_params") or {}
    prefix, sent = _split(str(params.get("model", "")), params.get("custom_llm_provider"))
    provider = _PROVIDERS.get(prefix)
    if provider is None:
        work.out.leave(f"{where}.litellm_params.model", f"no provider is known for {prefix!r}; register one")
        return
    if "*" in name or "*" in sent:
        work.out.leave(f"{where}.model_name", "no wildcards; all models of a provider with a key can be asked for")
    provider = _placed(work, provider, params)
    _add_key(work, provider, params.get("api_key"), where)
    for parameter in params.keys() - _TAKEN:
        work.out.leave(f"{where}.litellm_params.{parameter}", _WHY.get(parameter, _NOTHING))
    for part in entry.keys() - {"model_name", "litellm_params"}:
        work.out.leave(f"{where}.{part}", "facts of models are the catalogue's: SLUICE_MODELS")
    if "*" not in name + sent:
        found = _Deployment(name, provider, sent, float(params.get("weight", 1)), where)
        work.deployments.setdefault(name, []).append(found)


def _split(model: str, named: object) -> tuple[str, str]:
    """LiteLLM's provider and the model's name there."""
    if isinstance(named, str):
        return named, model.removeprefix(f"{named}/")
    prefix, slash, rest = model.partition("/")
    if slash:
        return prefix, rest
    return next((provider for start, provider in _BARE.items() if model.startswith(start)), model), model


def _placed(work: _Work, provider: str, params: Mapping[str, Any]) -> str:
    """The provider's id; one of its own where the deployment has an address."""
    address = str(params.get("api_base") or params.get("base_url") or "").rstrip("/")
    if not address:
        return provider
    host = urlsplit(address).hostname or ""
    resource = re.fullmatch(r"([a-z0-9-]+)\.openai\.azure\.com", host)
    if provider == "azure-openai" and resource is not None:
        options = work.tenant.setdefault("provider_options", {}).setdefault(provider, {})
        if options.setdefault("resource", resource[1]) == resource[1]:
            return provider
        address = f"https://{host}/openai/v1"
    if provider == "ollama" and not address.endswith("/v1"):
        address += "/v1"
    return _registered(work, provider, address, has_key="api_key" in params)


def _registered(work: _Work, provider: str, address: str, *, has_key: bool) -> str:
    for known, spec in work.out.providers.items():
        if spec["base_url"] == address:
            return known
    base = re.sub(r"[^a-z0-9]+", "-", (urlsplit(address).hostname or provider).lower()).strip("-")
    own = base if base not in work.out.providers else f"{base}-{len(work.out.providers)}"
    key = "required" if has_key else "optional"
    work.out.providers[own] = {"name": own, "base_url": address, "key": key, "models": "any"}
    if provider == "azure-openai":
        work.out.providers[own] |= {"key_header": "api-key", "key_prefix": ""}
    return own


def _add_key(work: _Work, provider: str, key: object, where: str) -> None:
    if not isinstance(key, str) or not key:
        return
    if not key.startswith("os.environ/"):
        work.out.leave(f"{where}.litellm_params.api_key", "was taken over as it stands; better, name a variable")
    keys = work.tenant["api_keys"].setdefault(provider, [])
    shown = "env:" + key.removeprefix("os.environ/") if key.startswith("os.environ/") else key
    if shown not in keys:
        keys.append(shown)


# --- models and routes -----------------------------------------------------------------------------------------------


def _add_models(work: _Work) -> None:
    """The tenant's own models: the first deployment under the name, each further one under a name beside it."""
    for name, deployments in work.deployments.items():
        for number, deployment in enumerate(deployments):
            own = {"provider": deployment.provider, "name": deployment.sent}
            work.tenant["models"][_own_name(name, number)] = own
    first = next(iter(work.deployments.values()), None)
    if first is not None:
        work.tenant |= {"default": first[0].provider, "default_model": first[0].name}


def _own_name(name: str, number: int) -> str:
    return name if number == 0 else f"{name}~{number + 1}"


def _add_routes(work: _Work, config: Mapping[str, Any]) -> None:
    routes: dict[str, JsonObject] = {}
    for name, deployments in work.deployments.items():
        # Also for a single one: the tenant's default may be another provider.
        routes[name] = {"model": name, "share": _share(name, deployments)}
    for section in ("litellm_settings", "router_settings"):
        given = config.get(section) or {}
        for field_, key in (("fallbacks", "fallbacks"), ("context_window_fallbacks", "larger")):
            for number, entry in enumerate(given.get(field_) or []):
                _add_fallbacks(work, routes, entry, key, f"{section}.{field_}[{number}]")
        if given.get("default_fallbacks"):
            work.out.leave(f"{section}.default_fallbacks", "routes name the models that they are for")
        if given.get("content_policy_fallbacks"):
            work.out.leave(f"{section}.content_policy_fallbacks", 'see `routes.*.on_content_filter = "fall_back"`')
    if routes:
        work.tenant["routes"] = list(routes.values())


def _share(name: str, deployments: list[_Deployment]) -> list[JsonObject]:
    return [
        {"provider": deployment.provider, "model": _own_name(name, number), "weight": deployment.weight}
        for number, deployment in enumerate(deployments)
    ]


def _add_fallbacks(
    work: _Work, routes: dict[str, JsonObject], entry: Mapping[str, list[str]], key: str, where: str
) -> None:
    for name, others in entry.items():
        if name not in routes:
            work.out.leave(where, f"there is no model {name!r}")
            continue
        for other in others:
            if other not in work.deployments:
                work.out.leave(where, f"there is no model {other!r}")
                continue
            places = [{"provider": p["provider"], "model": p["model"]} for p in _share(other, work.deployments[other])]
            routes[name].setdefault(key, []).extend(places)


# --- settings --------------------------------------------------------------------------------------------------------


def _add_settings(work: _Work, config: Mapping[str, Any]) -> None:
    routed = {"fallbacks", "context_window_fallbacks", "default_fallbacks", "content_policy_fallbacks"}
    for section in ("litellm_settings", "router_settings", "general_settings"):
        for name, value in (config.get(section) or {}).items():
            if name in routed:
                continue
            if name in ("request_timeout", "timeout") and isinstance(value, int | float):
                work.out.settings["total_seconds"] = value
                work.out.settings["run_kept_seconds"] = max(86_400, value)
            elif name == "cache_params" and isinstance(value, Mapping):
                _add_cache(work, value, section)
            else:
                work.out.leave(f"{section}.{name}", _why(name))


def _add_cache(work: _Work, given: Mapping[str, Any], section: str) -> None:
    for name, value in given.items():
        if name == "ttl" and isinstance(value, int | float):
            work.tenant["cache_seconds"] = min(float(value), 86_400.0)
        else:
            work.out.leave(f"{section}.cache_params.{name}", "answers are kept in the Redis of SLUICE_REDIS_URL")


def _why(name: str) -> str:
    if name.startswith("redis"):
        return "SLUICE_REDIS_URL"
    return _WHY.get(name, _NOTHING)
