"""An application on a listening socket, from its start hooks to the end of its last connection.

In place of Sanic's own running, which for a moment leaves signals to the system and for another one ignores them.
"""

import asyncio
import signal
import socket
from typing import Any

from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP
from sanic.server.loop import try_use_uvloop

from entrypoints.http import garbage
from entrypoints.http.app import App

#: Connections that may wait to be accepted: as many as come at once where another replica has gone. Sanic's 100 are
#: soon full, and who comes then waits a second or three for the system's next try.
BACKLOG = 4096
#: Seconds between two looks at whether the last connection has gone.
_INTERVAL = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(app: App, listener: socket.socket) -> None:
    """Run the application on a listening socket, in this process, until SIGTERM or SIGINT. One process is one replica.

    A signal during the start ends it in order as soon as it has started; a second one ends the process at once.

    Raises:
        Exception: what a start hook raised.
    """
    try_use_uvloop()
    asyncio.run(_serve(app, listener))


async def _serve(app: App, listener: socket.socket) -> None:
    asked = _asked_to_end()
    # What Sanic's own way of running notes for its start.
    app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
    server: Any = await app.create_server(
        sock=listener,
        backlog=BACKLOG,
        protocol=app.ctx.protocol,
        access_log=False,
        return_asyncio_server=True,
        # Nobody is served before there is something to serve.
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    # Here and not with the hooks: it concerns the process, of which an application that is only tested is a small part.
    garbage.settle()
    await server.start_serving()
    await server.after_start()
    await asked.wait()
    _leave_signals_to_the_system()
    await server.before_stop()
    await server.close()
    await _see_off(server.connections, app.config.GRACEFUL_SHUTDOWN_TIMEOUT)
    await server.after_stop()


def _asked_to_end() -> asyncio.Event:
    """What is set by the signals that end a process."""
    asked = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


def _leave_signals_to_the_system() -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)


async def _see_off(connections: set[Any], seconds: float) -> None:
    """Close the connections that wait for a request, and the others once they are answered, or after some seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    for connection in list(connections):
        connection.close_if_idle()
    while connections and loop.time() < until:  # noqa: ASYNC110 - once in a life; nobody tells when the last has gone
        await asyncio.sleep(_INTERVAL)
    for connection in list(connections):
        connection.abort()
