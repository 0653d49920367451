"""The Sanic application: routes, the error handler, start and drain. Decides nothing about completions."""

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import unquote

from sanic import HTTPResponse, Request, Sanic

from domain.completions.runs import CompletionRuns
from domain.providers import ProviderRegistry
from entrypoints.http import group_surface, ops, provider_surface, tenant_surface
from entrypoints.http.bounds import Bounds
from entrypoints.http.cors import Preflights
from entrypoints.http.description.pages import Description
from entrypoints.http.errors import Manners
from entrypoints.http.exchange import Endpoint, Exchanges
from entrypoints.http.group_surface import GroupSurface
from entrypoints.http.ops import Ops
from entrypoints.http.protocol import FrontDoor
from entrypoints.http.provider_surface import ProviderSurface
from entrypoints.http.refusals import Refusals
from entrypoints.http.shedding import Load
from entrypoints.http.tenant_surface import TenantSurface

App: TypeAlias = "Sanic[Any, Any]"
Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]
#: Work at the start and the end of the process, inside its event loop.
Hook: TypeAlias = Callable[[], Awaitable[None]]


#: Seconds that readers get to take the end of their streams when the process ends.
_LAST_WORDS = 3.0


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What the HTTP server is told; without ``surfaces`` it only tells how it is. Times are in seconds."""

    bounds: Bounds = field(default_factory=Bounds)
    drain_seconds: float = 30.0
    surfaces: bool = True


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the application serves, finished."""

    group: GroupSurface
    tenant: TenantSurface
    provider: ProviderSurface
    ops: Ops
    runs: CompletionRuns
    registry: ProviderRegistry
    exchanges: Exchanges
    preflights: Preflights | None = None
    description: Description | None = None
    load: Load = field(default_factory=Load)
    start: tuple[Hook, ...] = ()
    stop: tuple[Hook, ...] = ()


def create_app(services: Services, settings: HttpSettings, name: str = "sluice") -> App:
    """A Sanic application that is ready to be run or tested."""
    refusals = Refusals(services.exchanges, surface_manners(services.registry), services.preflights)
    app = bare_app(name, settings.bounds, refusals, services.load)
    if settings.surfaces:
        _add_surfaces(app, services)
    described = services.description.endpoints() if services.description is not None else {}
    add_plain(app, {**services.ops.endpoints(), **described}, services.exchanges)
    _add_lifecycle(app, services, settings)
    return app


def bare_app(name: str, bounds: Bounds, refusals: Refusals, load: Load) -> App:
    """A Sanic application without routes. It has to be served with the protocol ``app.ctx.protocol``."""
    app: App = Sanic(name, configure_logging=False, error_handler=refusals)
    # Bounds and timers are the front door's own.
    app.config.update(
        GRACEFUL_SHUTDOWN_TIMEOUT=5.0,
        ACCESS_LOG=False,
        MOTD=False,
        AUTO_EXTEND=False,
        OAS=False,
    )
    app.ctx.protocol = partial(FrontDoor, bounds=bounds, load=load, refusals=refusals)
    return app


# --- routes -------------------------------------------------------------------------------------------------------


def surface_manners(registry: ProviderRegistry) -> Callable[[str], Manners]:
    """How the surface answers on whose paths this first segment stands: registered providers win over tenants."""

    def manners_of(scope: str) -> Manners:
        if scope == "v1":
            return group_surface.MANNERS
        return provider_surface.MANNERS if scope in registry else tenant_surface.MANNERS

    return manners_of


def _add_surfaces(app: App, services: Services) -> None:
    registry = services.registry

    def surface_of(scope: str) -> TenantSurface | ProviderSurface:
        # Registered providers win; whatever else stands there is a tenant's id, known or not.
        return services.provider if scope in registry else services.tenant

    manners_of = surface_manners(registry)

    def scoped(path: str, action: str) -> Handler:
        route = f"/{{scope}}{_shown(path)}"

        async def handle(request: Request, **parts: str) -> HTTPResponse | None:
            decoded = _decoded(parts)
            scope = decoded["scope"]
            endpoint = partial(getattr(surface_of(scope), action), **decoded)
            return await services.exchanges.run(request, route, manners_of(scope), endpoint)

        return handle

    def unscoped(path: str, action: str) -> Handler:
        method, route = getattr(services.group, action), _shown(path)

        async def handle(request: Request, **parts: str) -> HTTPResponse | None:
            endpoint = partial(method, **_decoded(parts))
            return await services.exchanges.run(request, route, group_surface.MANNERS, endpoint)

        return handle

    for verb, path, action in (
        ("POST", "/v1/chat/completions", "create"),
        ("GET", "/v1/chat/completions/<run_id:str>", "fetch"),
        ("POST", "/v1/chat/completions/<run_id:str>/cancel", "cancel"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/<name:path>", "model"),
    ):
        name = f"{action}_{verb}"
        app.add_route(unscoped(path, action), path, methods=[verb], name=name)
        app.add_route(scoped(path, action), f"/<scope:str>{path}", methods=[verb], name=f"scoped_{name}")


def _decoded(parts: Mapping[str, str]) -> dict[str, str]:
    """The values in a path, percent-decoded. Sanic's ``unquote`` does nothing on a route with a ``path`` in it."""
    return {name: unquote(value) for name, value in parts.items()}


def _shown(path: str) -> str:
    """A route as the log shows it: ``/v1/models/{name}``."""
    return re.sub(r"<(\w+):\w+>", r"{\1}", path)


def add_plain(app: App, endpoints: Mapping[str, Endpoint], exchanges: Exchanges) -> None:
    """Let the application answer on paths that belong to no surface: how it is, what it can do."""
    for path, endpoint in endpoints.items():

        async def handle(request: Request, path: str = path, endpoint: Endpoint = endpoint) -> HTTPResponse | None:
            return await exchanges.run(request, path, ops.MANNERS, endpoint)

        app.add_route(handle, path, methods=["GET"], name=re.sub(r"\W", "_", path.strip("/")))


# --- start and drain ----------------------------------------------------------------------------------------------


def _add_lifecycle(app: App, services: Services, settings: HttpSettings) -> None:
    async def start(_: App) -> None:
        for hook in services.start:
            await hook()

    async def drain(_: App) -> None:
        # First in the order of things: readiness goes, then the runs finish, and only then do the pools close.
        services.ops.draining = True
        await services.runs.drain(settings.drain_seconds)
        # What ended the runs must still be told: Sanic closes connections as soon as this returns.
        await services.exchanges.finish(_LAST_WORDS)

    async def close(_: App) -> None:
        for hook in services.stop:
            await hook()

    app.register_listener(start, "before_server_start")
    app.register_listener(drain, "before_server_stop")
    app.register_listener(close, "after_server_stop")
