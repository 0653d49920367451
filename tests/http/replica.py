"""A replica in the test's own event loop: the application on a real socket, its stores in memory, a client for it."""

import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP

from config.composition import build, minting
from config.container import Container
from config.settings import Settings
from domain.ledger import Account
from domain.providers import ProviderSpec
from entrypoints.http.assembly import assemble
from tests.provider.process import ProviderProcess

#: Long enough for HS256; made up.
SECRET = "a secret that only the tests know, 32 bytes and more"
PROVIDER_KEY = "sk-key-of-the-tenant-with-its-provider"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica that serves on ``port`` of the loopback. ``client`` sends no credentials by itself."""

    container: Container
    server: Any
    port: int
    client: httpx.AsyncClient
    admin: httpx.AsyncClient

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def drain(self) -> None:
        """Do what SIGTERM begins with: admit nothing more, and end what is still running."""
        await self.server.before_stop()

    async def add_tenant(self, tenant: str | None = None, **changes: Any) -> str:
        """Put a tenant whose default provider is the scripted one; its id, a new one unless it is given."""
        tenant_id = tenant or f"tenant-{next(_numbers)}"
        await self.put_tenant(tenant_id, {**TENANT_DOCUMENT, **changes})
        return tenant_id

    async def put_tenant(self, tenant: str, document: dict[str, Any]) -> None:
        """Write a tenant's document as it stands."""
        await self.container.tenants().put(tenant, document)

    def set_balance(self, tenant: str, tokens: int, *, user: str = "ann", group: str = "staff") -> None:
        """Overwrite a balance, as an operator may."""
        ledger: Any = self.container.ledger()
        ledger.overwrite(Account(tenant, group, user), tokens)

    async def available(self, tenant: str, *, user: str = "ann", group: str = "staff") -> int:
        available: int = await self.container.ledger().available(Account(tenant, group, user))
        return available

    def token(
        self,
        *tenants: str,
        user: str = "ann",
        group: str | None = "staff",
        lifetime: int = 600,
        scopes: Sequence[str] = (),
    ) -> str:
        """A token of this user for these tenants, in the same group of each; None leaves the group out."""
        mint = minting(self.container.settings())
        assert mint is not None
        groups = {} if group is None else dict.fromkeys(tenants, group)
        return mint(user, tenants=tenants, groups=groups, lifetime=lifetime, now=time.time(), scopes=scopes)


#: A tenant for which everything is in order.
TENANT_DOCUMENT: dict[str, Any] = {
    "groups": {"staff": {"initial_tokens": 10_000_000}, "anonymous": {"initial_tokens": 1_000_000}},
    "api_keys": {"openai": PROVIDER_KEY, "keyed": PROVIDER_KEY},
    "default": "scripted",
    "default_group": "staff",
    "default_model": "echo",
}


def providers(provider: ProviderProcess) -> tuple[ProviderSpec, ...]:
    """The scripted provider as three providers: any model and no key, any model and a key, and OpenAI as it ships."""
    return (
        ProviderSpec("scripted", "Scripted", provider.base_url, key="optional", models="any"),
        ProviderSpec("keyed", "Keyed", provider.base_url, models="any"),
        ProviderSpec("openai", "OpenAI", provider.base_url_as("echo"), default_model="gpt-4o-mini"),
    )


@asynccontextmanager
async def running(
    provider: ProviderProcess,
    *,
    prepare: Callable[[Container], None] = lambda _: None,
    send_buffer: int | None = None,
    **settings: Any,
) -> AsyncIterator[Replica]:
    """A replica with these settings, until the end of the block; what it is still doing then is broken off.

    ``prepare`` may change the container before anything is made of it. ``send_buffer`` is how many bytes the kernel
    should keep for a client that does not read.
    """
    # Tests share a machine, and the loop, that may be late without anybody asking too much of the replica.
    usual = {"jwt_secret": SECRET, "drain_seconds": 0.0, "shed_lag_seconds": None}
    given = Settings.model_validate({**usual, **settings})
    container = build(given, own_providers=providers(provider))
    prepare(container)
    admin_listener = socket.create_server(("127.0.0.1", 0))
    app = assemble(container, name=f"sluice-{next(_numbers)}", admin=admin_listener)
    # Sanic rewrites parts of itself when it starts: with this, for every start afresh, and as for HTTP/1.1 alone.
    Sanic.test_mode = True
    app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
    # Sanic takes port 0 for its own 8000.
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:
        # The sockets that it accepts have it from the one that listens.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server: Any = await app.create_server(sock=listener, protocol=app.ctx.protocol)
    port: int = listener.getsockname()[1]
    admin = f"http://127.0.0.1:{admin_listener.getsockname()[1]}"
    try:
        await server.startup()
        await server.before_start()
        await server.after_start()
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client,
            httpx.AsyncClient(base_url=admin, timeout=10, trust_env=False) as admin_client,
        ):
            yield Replica(container, server, port, client, admin_client)
    finally:
        await server.before_stop()
        await server.close()
        await server.after_stop()
