"""The demo: one tenant, a token for an hour, and commands that work as they are printed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import orjson

from config.container import Container
from config.settings import Settings
from domain.chat import JsonObject
from entrypoints import development_provider

TENANT = "demo"
USER = "ada"
GROUP = "staff"
#: Seconds for which the printed token is good.
TOKEN_SECONDS = 3600
#: What a new user of each group is granted, in tokens.
_GRANTS = {"anonymous": 50_000, GROUP: 1_000_000}


@dataclass(frozen=True, slots=True)
class Backend:
    """What answers in the demo. ``base_url`` is set where the demo itself brings the provider."""

    provider: str
    label: str
    api_key: str | None = None
    base_url: str | None = None
    model: str | None = None


@contextmanager
def backend(settings: Settings, environment: Mapping[str, str]) -> Iterator[Backend]:
    """SLUICE_UPSTREAM, else OpenAI where OPENAI_API_KEY is set, else the development provider, started here."""
    if settings.upstream is not None:
        yield Backend("upstream", settings.upstream, model=_first_model(settings))
    elif environment.get("OPENAI_API_KEY"):
        yield Backend("openai", "OpenAI", api_key=environment["OPENAI_API_KEY"])
    else:
        with development_provider.development_provider() as base_url:
            yield Backend(
                "development",
                "the development provider (no model: it repeats what it hears)",
                base_url=base_url,
                model=development_provider.MODEL,
            )


def tenant_document(backend: Backend) -> JsonObject:
    return {
        "name": "Demo",
        "groups": {group: {"initial_tokens": tokens} for group, tokens in _GRANTS.items()},
        "api_keys": {backend.provider: backend.api_key} if backend.api_key else {},
        "default": backend.provider,
        "default_group": GROUP,
        "default_model": backend.model,
    }


async def set_up(container: Container, backend: Backend) -> None:
    """Write the demo tenant, over whatever an earlier demo left."""
    await container.tenants().put(TENANT, tenant_document(backend))


def welcome(container: Container, settings: Settings, backend: Backend) -> str:
    """What the demo prints when it serves: a command for each surface, and the lines for OpenAI's own client."""
    base = f"http://{_reachable(settings.host)}:{settings.port}"
    planner = container.planner()
    spec = planner.registry.get(backend.provider)
    model = backend.model or (spec.default_model if spec is not None else None) or "gpt-4o-mini"
    mint = container.mint()
    if mint is None:
        token = "<a token of your issuer>"  # noqa: S105 - a place for one
    else:
        token = mint(USER, [TENANT], {TENANT: GROUP}, TOKEN_SECONDS, time.time())
    return _WELCOME.format(
        base=base, tenant=TENANT, provider=backend.provider, label=backend.label, token=token, model=model,
        group=_body(group_id="anonymous", stream=True),
        tenants=_body(stream=True),
        whole=_body(model=model),
    )  # fmt: skip


_WELCOME = """
Sluice serves at {base}; answers come from {label}.
The token below is good for an hour.

# Group surface: nobody in particular, streaming
curl -N {base}/v1/chat/completions -H 'X-Tenant-Id: {tenant}' -H 'Content-Type: application/json' -d '{group}'

# Tenant surface: a member of the tenant, streaming
curl -N {base}/{tenant}/v1/chat/completions -H 'Authorization: Bearer {token}' \
-H 'Content-Type: application/json' -d '{tenants}'

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
