"""A Portkey gateway config, JSON: https://portkey.ai/docs/product/ai-gateway/configs"""

from collections.abc import Mapping
from typing import Any

from domain.chat import JsonObject
from entrypoints.cli.migration.translation import Translation

#: Portkey's providers, and those that ship with Sluice.
_PROVIDERS = {
    "openai": "openai", "azure-openai": "azure-openai", "anthropic": "anthropic", "google": "gemini", "groq": "groq",
    "mistral-ai": "mistral", "deepseek": "deepseek", "openrouter": "openrouter", "together-ai": "together",
    "fireworks-ai": "fireworks", "x-ai": "xai", "perplexity-ai": "perplexity", "cerebras": "cerebras",
    "ollama": "ollama",
}  # fmt: skip
_TAKEN = {"provider", "api_key", "custom_host", "weight", "override_params", "resource_name"}
_WHY = {
    "retry": "retries are built in and bounded",
    "virtual_key": "a provider's key is the tenant's: `api_keys`",
    "on_status_codes": "which failures lead to the next provider is built in",
    "forward_headers": "headers are not passed on",
    "input_guardrails": "there are no guardrails",
    "output_guardrails": "there are no guardrails",
    "strategy": "targets inside targets are not translated",
    "targets": "targets inside targets are not translated",
}


def translate(config: Mapping[str, Any], tenant: str) -> Translation:
    """The config as one tenant of Sluice, and whatever providers it needs."""
    document: JsonObject = {"groups": {"everyone": {}}, "default_group": "everyone", "api_keys": {}}
    out = Translation(tenants={tenant: document})
    targets = config.get("targets")
    places = [
        place
        for number, target in enumerate(targets if isinstance(targets, list) else [config])
        if (place := _place(out, document, target, f"targets[{number}]" if targets else "")) is not None
    ]
    mode = (config.get("strategy") or {}).get("mode", "single")
    _add_route(out, document, places, mode)
    _add_rest(out, document, config)
    if not document["api_keys"]:
        del document["api_keys"]
    return out


def _place(out: Translation, document: JsonObject, target: Mapping[str, Any], where: str) -> JsonObject | None:
    dot = f"{where}." if where else ""
    named = str(target.get("provider", "")).removeprefix("@")
    provider = _PROVIDERS.get(named)
    if provider is None:
        out.leave(f"{dot}provider", f"no provider is known for {named!r}; register one")
        return None
    if target.get("custom_host"):
        own = f"{provider}-{len(out.providers) + 1}"
        out.providers[own] = {"name": own, "base_url": str(target["custom_host"]).rstrip("/"), "models": "any"}
        provider = own
    if target.get("resource_name"):
        document.setdefault("provider_options", {})[provider] = {"resource": target["resource_name"]}
    if isinstance(target.get("api_key"), str):
        document["api_keys"].setdefault(provider, []).append(target["api_key"])
    if where:
        for name in target.keys() - _TAKEN:
            out.leave(dot + name, _WHY.get(name, "has no counterpart"))
    overridden = dict(target.get("override_params") or {})
    place: JsonObject = {"provider": provider, "weight": float(target.get("weight", 1))}
    if "model" in overridden:
        place["model"] = str(overridden.pop("model"))
        document.setdefault("models", {})[place["model"]] = {"provider": provider, "name": place["model"]}
    for name in overridden:
        out.leave(f"{dot}override_params.{name}", "parameters are the caller's")
    return place


def _add_route(out: Translation, document: JsonObject, places: list[JsonObject], mode: str) -> None:
    if not places:
        return
    document["default"] = places[0]["provider"]
    if "model" in places[0]:
        document["default_model"] = places[0]["model"]
    plain = [{name: value for name, value in place.items() if name != "weight"} for place in places]
    if mode == "loadbalance":
        document["routes"] = [{"share": places}]
    elif mode == "fallback" and len(places) > 1:
        document["routes"] = [{"share": plain[:1], "fallbacks": plain[1:]}]
    elif mode not in ("single", "fallback"):
        out.leave("strategy.mode", f"{mode!r} has no counterpart; only the first target is used")


def _add_rest(out: Translation, document: JsonObject, config: Mapping[str, Any]) -> None:
    cache = config.get("cache")
    if isinstance(cache, Mapping):
        if "max_age" in cache:
            document["cache_seconds"] = min(float(cache["max_age"]), 86_400.0)
        if cache.get("mode") == "semantic":
            out.leave("cache.mode", "equal requests share an answer where they have a `cache_key`, similar ones do not")
    if isinstance(config.get("request_timeout"), int | float):
        out.settings["total_seconds"] = config["request_timeout"] / 1000
    known = {"strategy", "targets", "cache", "request_timeout", *_TAKEN}
    for name in config.keys() - known:
        out.leave(name, _WHY.get(name, "has no counterpart"))
    for name in (config.get("strategy") or {}).keys() - {"mode"}:
        out.leave(f"strategy.{name}", _WHY.get(name, "has no counterpart"))
