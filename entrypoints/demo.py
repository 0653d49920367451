"""The demo: one tenant, a token for an hour, and commands that work as they are printed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import orjson

from config.composition import minting, with_secret
from config.settings import Settings
from domain.chat import JsonObject
from domain.ports import TenantStore
from domain.providers import ProviderRegistry, ProviderSpec
from entrypoints import development_provider

TENANT = "demo"
USER = "ada"
GROUP = "staff"
#: Seconds for which the printed token is good.
TOKEN_SECONDS = 3600
#: What a new user of each group is granted, in tokens.
_GRANTS = {"anonymous": 50_000, GROUP: 1_000_000}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays with: its settings, what answers, under which model name, and whose key pays.

    Without a ``model`` it is the provider's default.
    """

    settings: Settings
    provider: str
    label: str
    model: str | None
    api_key: str | None = None
    providers: Sequence[ProviderSpec] = ()


@contextmanager
def stage(settings: Settings, environment: Mapping[str, str]) -> Iterator[Stage]:
    """SLUICE_UPSTREAM answers, else OpenAI where OPENAI_API_KEY is set, else the development provider, started here."""
    settings = with_secret(settings)
    if settings.upstream is not None:
        yield Stage(settings, "upstream", settings.upstream, _first_model(settings) or "default")
    elif environment.get("OPENAI_API_KEY"):
        yield Stage(settings, "openai", "OpenAI", None, api_key=environment["OPENAI_API_KEY"])
    else:
        model = development_provider.MODEL
        with development_provider.development_provider() as base_url:
            spec = ProviderSpec(
                "development", "development", base_url, key="optional", models="any", default_model=model
            )
            label = "the development provider (no model is behind it: it repeats what it hears)"
            yield Stage(settings, spec.id, label, model, providers=(spec,))


def tenant_document(stage: Stage) -> JsonObject:
    """The demo tenant, as an operator would write it."""
    return {
        "name": "Demo",
        "groups": {group: {"initial_tokens": tokens} for group, tokens in _GRANTS.items()},
        "api_keys": {stage.provider: stage.api_key} if stage.api_key else {},
        "default": stage.provider,
        "default_group": GROUP,
        "default_model": stage.model,
    }


async def set_up(tenants: TenantStore, stage: Stage) -> None:
    """Write the demo tenant, over whatever an earlier demo left."""
    await tenants.put(TENANT, tenant_document(stage))


def welcome(stage: Stage, registry: ProviderRegistry) -> str:
    """What the demo prints when it serves: a command for each surface, and the lines for OpenAI's own client."""
    spec = registry.get(stage.provider)
    model = stage.model or (spec.default_model if spec is not None else None)
    mint = minting(stage.settings)
    token = "<a token of your issuer>"  # noqa: S105 - a place for one
    if mint is not None:
        token = mint(USER, tenants=[TENANT], groups={TENANT: GROUP}, lifetime=TOKEN_SECONDS, now=time.time())
    return _WELCOME.format(
        base=f"http://{_reachable(stage.settings.host)}:{stage.settings.port}",
        tenant=TENANT,
        provider=stage.provider,
        label=stage.label,
        token=token,
        model=model,
        group=_body(group_id="anonymous", stream=True),
        member=_body(stream=True),
        whole=_body(model=model),
    )


_WELCOME = """
Sluice serves at {base}; answers come from {label}.
The token below is good for an hour.

# Group surface: nobody in particular, streaming
curl -N {base}/v1/chat/completions -H 'X-Tenant-Id: {tenant}' -H 'Content-Type: application/json' -d '{group}'

# Tenant surface: a member of the tenant, streaming
curl -N {base}/{tenant}/v1/chat/completions -H 'Authorization: Bearer {token}' \
-H 'Content-Type: application/json' -d '{member}'

# Provider surface: OpenAI's API to the letter
curl {base}/{provider}/v1/chat/completions -H 'Authorization: Bearer {token}' \
-H 'Content-Type: application/json' -d '{whole}'

# The same from Python (pip install openai)
from openai import OpenAI
client = OpenAI(base_url="{base}/{provider}/v1", api_key="{token}")
print(client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello"}}]))
"""


def _body(**fields: object) -> str:
    return orjson.dumps({**fields, "messages": [{"role": "user", "content": "Hello, who are you?"}]}).decode()


def _reachable(host: str) -> str:
    """A host that a command on this machine can name, where the server listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _first_model(settings: Settings) -> str | None:
    """The first model that the upstream lists: with any other name the printed commands might not work."""
    key = settings.upstream_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
    try:
        with httpx.Client(timeout=3.0, trust_env=False) as client:
            listed = client.get(f"{(settings.upstream or '').rstrip('/')}/models", headers=headers).json()["data"]
        return str(listed[0]["id"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
