"""The application, put together from a container's finished services."""

import asyncio
from collections.abc import Awaitable, Callable

from config.container import Container
from domain.errors import SluiceError
from domain.ports import TenantStore
from domain.providers import ProviderRegistry
from entrypoints.http.answering import Answering
from entrypoints.http.app import App, HttpSettings, Services, create_app
from entrypoints.http.exchange import Exchanges
from entrypoints.http.group_surface import GroupSurface
from entrypoints.http.ops import Ops
from entrypoints.http.provider_surface import ProviderSurface
from entrypoints.http.tenant_surface import TenantSurface


class NamespaceTaken(RuntimeError):
    """A provider is registered under the id of a tenant that exists: its paths would answer for somebody else."""


def assemble(container: Container, *, before: Callable[[], Awaitable[None]] | None = None, name: str = "sluice") -> App:
    """The application of a container. ``before`` is run in its event loop before it takes requests."""
    settings = container.settings()
    runs, planner, journal = container.runs(), container.planner(), container.journal()
    answering = Answering(
        runs,
        journal,
        first_byte_grace=settings.stream_grace_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    parts = (container.callers(), container.verifier(), planner, answering)

    async def check_namespaces() -> None:
        await require_free_namespaces(container.tenants(), planner.registry)

    services = Services(
        group=GroupSurface(*parts),
        tenant=TenantSurface(*parts),
        provider=ProviderSurface(*parts),
        ops=Ops(tuple(container.dependencies())),
        runs=runs,
        registry=planner.registry,
        exchanges=Exchanges(journal, container.entropy()),
        start=(check_namespaces, *([before] if before is not None else [])),
        stop=tuple(container.closers()),
    )
    http = HttpSettings(
        body_bytes=settings.body_bytes,
        response_seconds=int(settings.total_seconds + settings.queue_seconds) + 60,
        drain_seconds=settings.drain_seconds,
    )
    return create_app(services, http, name)


async def require_free_namespaces(tenants: TenantStore, registry: ProviderRegistry) -> None:
    """Refuse to start where a provider's id is a tenant's.

    A store that is away does not keep the process from starting; readiness tells of it.
    """
    found = await asyncio.gather(*(_exists(tenants, spec.id) for spec in registry))
    taken = [spec.id for spec, exists in zip(registry, found, strict=True) if exists]
    if taken:
        raise NamespaceTaken(f"registered as a provider, but a tenant has this id already: {', '.join(taken)}")


async def _exists(tenants: TenantStore, tenant_id: str) -> bool:
    try:
        return await tenants.get(tenant_id) is not None
    except SluiceError:
        return False
