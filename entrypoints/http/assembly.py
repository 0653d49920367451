"""The application, put together from a container's finished services."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version

from config.container import Container
from config.settings import Settings
from domain.chat import JsonObject
from domain.errors import Unfit
from domain.models import DEFAULT_VOCABULARY
from domain.spans import Tracing
from entrypoints.http.admin.app import AdminServices, create_admin_app, open_with
from entrypoints.http.admin.balances import Balances
from entrypoints.http.admin.catalogue import CatalogueOf
from entrypoints.http.admin.keys import Keys
from entrypoints.http.admin.routes import Route
from entrypoints.http.admin.runs import Runs
from entrypoints.http.admin.targets import TargetsOf
from entrypoints.http.admin.tenants import Tenants
from entrypoints.http.answering import Answering
from entrypoints.http.app import App, HttpSettings, Services, create_app
from entrypoints.http.bounds import Bounds
from entrypoints.http.cors import Preflights
from entrypoints.http.description.pages import Description
from entrypoints.http.exchange import Exchanges
from entrypoints.http.group_surface import GroupSurface
from entrypoints.http.head import HeadBounds
from entrypoints.http.ops import Ops
from entrypoints.http.provider_surface import ProviderSurface
from entrypoints.http.shedding import Load
from entrypoints.http.tenant_surface import TenantSurface


def assemble(
    container: Container,
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    surfaces: bool = True,
    admin: socket.socket | None = None,
    name: str = "sluice",
) -> App:
    """The application of a container; a worker's has no ``surfaces``.

    ``before`` is run in its event loop before it takes requests; the admin API is served on the socket ``admin``.
    """
    settings = container.settings()
    runs, planner, journal = container.runs(), container.planner(), container.journal()
    answering = Answering(
        runs,
        journal,
        first_byte_grace=settings.stream_grace_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    parts = (container.callers(), container.verifier(), planner, answering)
    dependencies = (container.namespaces(), *container.checks())

    async def require_fit() -> None:
        for dependency in dependencies:
            flaw = await dependency.flaw()
            if flaw is not None:
                raise Unfit(f"{dependency.name}: {flaw}")

    async def load_vocabulary() -> None:
        # It holds up the whole process for a moment, which no request should meet.
        await container.tokenizer().count(DEFAULT_VOCABULARY, ("",))

    load = Load(settings.shed_lag_seconds, settings.shed_memory_bytes)
    tracing = container.tracing()
    exchanges = Exchanges(journal, container.entropy(), tracing if isinstance(tracing, Tracing) else None)
    measured = settings.metrics != "off"
    if measured:
        container.levels().open = lambda: exchanges.open
    watching = (load.start, *((container.loop_lag().start,) if measured else ()))
    services = Services(
        group=GroupSurface(*parts),
        tenant=TenantSurface(*parts),
        provider=ProviderSurface(*parts),
        ops=Ops(dependencies, container.exposition().tell if measured else None, settings.metrics == "public"),
        runs=runs,
        registry=planner.registry,
        exchanges=exchanges,
        preflights=Preflights(container.tenants(), planner.registry),
        description=Description(_described) if surfaces and settings.docs else None,
        load=load,
        start=(*((before,) if before is not None else ()), require_fit, load_vocabulary, *watching, runs.work),
        stop=(load.stop, *container.closers()),
    )
    http = HttpSettings(
        bounds=_bounds(settings),
        drain_seconds=settings.drain_seconds,
        surfaces=surfaces,
    )
    app = create_app(services, http, name)
    if admin is not None:
        routes = admin_routes(container)
        described = Description(partial(_described_inside, routes)) if settings.docs else None
        own = AdminServices(routes, container.verifier(), services.exchanges, services.ops, described)
        open_with(app, create_admin_app(own, f"{name}-admin"), admin)
    return app


def admin_routes(container: Container) -> tuple[Route, ...]:
    """Every route of the admin API."""
    return (
        *Tenants(container.tenant_administration()).routes(),
        *Balances(container.balance_administration()).routes(),
        *Keys(container.key_administration()).routes(),
        *Runs(container.run_administration()).routes(),
        *CatalogueOf(container.planner()).routes(),
        *TargetsOf(container.target_administration()).routes(),
    )


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        head=HeadBounds(settings.head_bytes, settings.url_bytes, settings.header_bytes, settings.header_count),
        body_bytes=settings.body_bytes,
        anonymous_body_bytes=min(settings.anonymous_body_bytes, settings.body_bytes),
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        send_seconds=settings.send_seconds,
        idle_seconds=settings.connection_idle_seconds,
        connections=settings.connections,
        # As long as what is answered may take, and a minute to read the rest of it.
        response_seconds=settings.total_seconds + settings.queue_seconds + 60,
    )


def _described() -> JsonObject:
    # Most replicas are never asked, and need not wait for its models.
    from entrypoints.http.description.completions import describe

    return describe(version("sluice"))


def _described_inside(routes: Sequence[Route]) -> JsonObject:
    from entrypoints.http.admin.description import describe

    return describe(version("sluice"), routes)
