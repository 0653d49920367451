"""The admin API as an application of its own, in the process and the event loop of the one that it looks after."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sanic import HTTPResponse, Request

from domain.ports import TokenVerifier
from entrypoints.http import ops
from entrypoints.http.admin.routes import MANNERS, Route, endpoint
from entrypoints.http.app import App, add_plain, bare_app
from entrypoints.http.bounds import Bounds
from entrypoints.http.description.pages import Description
from entrypoints.http.exchange import Exchanges
from entrypoints.http.ops import Ops
from entrypoints.http.refusals import Refusals
from entrypoints.http.shedding import Load

#: The largest document that anybody writes has room to spare in a megabyte.
_BOUNDS = Bounds(
    body_bytes=1024 * 1024, body_seconds=10, idle_seconds=15, send_seconds=30, response_seconds=30, connections=256
)


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the admin API serves, finished."""

    routes: Sequence[Route]
    verifier: TokenVerifier
    exchanges: Exchanges
    ops: Ops
    description: Description | None = None


def create_admin_app(services: AdminServices, name: str) -> App:
    """A Sanic application that is ready to be opened or tested."""
    refusals = Refusals(services.exchanges, lambda scope: MANNERS if scope == "admin" else ops.MANNERS)
    app = bare_app(name, _BOUNDS, refusals, Load())
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 1.0
    for route in services.routes:
        app.add_route(
            _handler(route, services),
            route.sanic_path,
            methods=[route.method],
            name=f"{route.method}_{route.path.strip('/').translate(_PLAIN)}",
        )
    described = services.description.endpoints() if services.description is not None else {}
    add_plain(app, {**services.ops.endpoints(inside=True), **described}, services.exchanges)
    return app


def open_with(app: App, admin: App, listener: socket.socket) -> None:
    """Let the admin API be served on a listening socket for as long as ``app`` is, until its drain is over.

    Sanic runs one application in a process's only loop; the other one's server is opened in it by hand.
    """
    opened: list[Any] = []
    # Sanic rewrites its own methods when a primary application starts, which they bear once.
    admin.state.primary = False

    async def open_it(_: App) -> None:
        server: Any = await admin.create_server(sock=listener, protocol=admin.ctx.protocol, return_asyncio_server=True)
        await server.startup()
        await server.before_start()
        await server.after_start()
        opened.append(server)

    async def close_it(_: App) -> None:
        for server in opened:
            await server.before_stop()
            await server.close()
            await server.after_stop()

    app.register_listener(open_it, "after_server_start")
    app.register_listener(close_it, "after_server_stop")


_PLAIN = str.maketrans({"/": "_", "{": "", "}": ""})


def _handler(route: Route, services: AdminServices) -> Any:
    async def handle(request: Request, **parts: str) -> HTTPResponse | None:
        answer = endpoint(route, services.verifier, parts)
        return await services.exchanges.run(request, route.full_path, MANNERS, answer)

    return handle
