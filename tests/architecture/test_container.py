"""Every part of a replica can be built: a misspelt keyword inside a ``Singleton`` shows nowhere else before it runs."""

import asyncio
from typing import Any

import pytest
from dependency_injector import providers

from config.composition import build
from config.container import Container
from config.settings import Settings

SECRET = "a secret that only the tests know, 32 bytes and more"
#: Ways to configure a replica; nothing is connected to before it is first used.
WAYS: dict[str, dict[str, Any]] = {
    "memory": {"jwt_secret": SECRET},
    "redis": {"jwt_secret": SECRET, "redis_url": "redis://127.0.0.1:1"},
    "an issuer": {"jwt_issuer": "https://issuer.example", "jwt_audience": "sluice"},
    "an upstream": {"jwt_secret": SECRET, "upstream": "http://127.0.0.1:1/v1", "upstream_key": "sk-made-up"},
}


async def build_all(settings: Settings) -> dict[str, object]:
    container = build(settings)
    return {name: provider() for name, provider in container.providers.items()}


@pytest.mark.parametrize("way", WAYS)
def test_every_provider_of_the_container_builds(way: str) -> None:
    parts = asyncio.run(build_all(Settings.model_validate(WAYS[way])))

    assert parts.keys() == Container.providers.keys()
    assert all(part is not None for part in parts.values())


@pytest.mark.parametrize("way", WAYS)
def test_what_is_shared_is_built_once(way: str) -> None:
    container = build(Settings.model_validate(WAYS[way]))
    singletons = [provider for provider in container.providers.values() if isinstance(provider, providers.Singleton)]

    assert singletons
    for provider in singletons:
        assert provider() is provider()
