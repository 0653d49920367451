"""Providers that fail, one for each way, and a tenant that falls back from any of them to one that is well."""

import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from dependency_injector import providers as di

from adapters.openai.pool import PoolLimits
from adapters.openai.transport import PooledTransport
from config.container import Container
from domain.providers import Prefill, ProviderRegistry, ProviderSpec, Quirks
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.provider.exchange import Seen
from tests.provider.process import ProviderProcess

#: What ``Failing`` gives to begin with.
BALANCE = 1_000_000
_models = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Failing:
    """A replica that knows the scripted provider as one provider for each way to fail: ``at-<behaviour>``.

    Each call of ``member`` is about a model and a key of its own, so that no test finds what another one left.
    """

    replica: Replica
    provider: ProviderProcess

    async def member(self, behaviour: str, *fallbacks: str, **document: Any) -> Member:
        """A member of a new tenant whose requests go to this behaviour, and to these others behind it."""
        routes = [{"fallbacks": [{"provider": f"at-{name}"} for name in fallbacks]}] if fallbacks else []
        number = next(_models)
        tenant = await self.replica.add_tenant(
            **{
                "default": f"at-{behaviour}",
                "default_model": f"model-{number}",
                "api_keys": {f"at-{behaviour}": f"key-{number}"},
                "groups": {"staff": {"initial_tokens": BALANCE}},
                "routes": routes,
                **document,
            }
        )
        return Member(self.replica, tenant)

    async def charged(self, member: Member) -> int:
        return BALANCE - await self.replica.available(member.tenant)

    def seen(self, behaviour: str) -> list[Seen]:
        """The requests that this behaviour got, oldest first."""
        return [seen for seen in self.provider.requests() if seen.path.startswith(f"/as/{behaviour}/")]

    def pauses(self, behaviour: str) -> list[float]:
        """Seconds between the requests that this behaviour got."""
        at = [seen.at for seen in self.seen(behaviour)]
        return [later - earlier for earlier, later in itertools.pairwise(at)]


@asynccontextmanager
async def failing(
    provider: ProviderProcess, *behaviours: str, others: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Failing]:
    """A replica that waits for no provider for long, and knows these behaviours and some that are not there.

    ``others`` are addresses of providers that are none of the scripted one's.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    addresses = {
        **{behaviour: provider.base_url_as(behaviour) for behaviour in behaviours},
        "refused": f"http://127.0.0.1:{closed}/v1",
        "no-such-host": "http://no-such-host.invalid/v1",
        **(others or {}),
    }
    specs = {
        f"at-{name}": ProviderSpec(f"at-{name}", name, address, key="optional", models="any", quirks=_quirks(name))
        for name, address in addresses.items()
    }

    def add(container: Container) -> None:
        known = {spec.id: spec for spec in container.registry()}
        container.registry.override(di.Object(ProviderRegistry({**known, **specs})))
        # All are one origin. Whoever hangs up should not do so on a connection that another has kept.
        container.transport.override(di.Singleton(PooledTransport, PoolLimits(keepalive=0.0)))

    async with running(provider, prepare=add, **settings) as replica:
        yield Failing(replica, provider)


def _quirks(behaviour: str) -> Quirks:
    return Quirks(prefill=Prefill() if behaviour.startswith("prefill") else None)


def text_of(answer: httpx.Response) -> str:
    """What a whole answer says."""
    said: str = answer.json()["choices"][0]["message"]["content"]
    return said
