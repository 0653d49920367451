"""``sluice serve`` and ``sluice worker``: the service itself."""

import os
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeAlias

import typer

from config.settings import PREFIX, Settings, SettingsError, read_settings
from entrypoints.cli.exits import Exit
from entrypoints.process import end_on_sigterm, open_files_up_to_the_hard_limit

Host: TypeAlias = Annotated[str | None, typer.Option(help="Address to listen on, in place of SLUICE_HOST.")]
Port: TypeAlias = Annotated[str | None, typer.Option(help="Port to listen on, in place of SLUICE_PORT.")]


def serve(host: Host = None, port: Port = None) -> None:
    """Serve until SIGTERM, and work off queued completions."""
    raise typer.Exit(start(_environment(host, port), surfaces=True))


def worker(host: Host = None, port: Port = None) -> None:
    """Only work off queued completions until SIGTERM; listens for health checks."""
    raise typer.Exit(start(_environment(host, port), surfaces=False))


def _environment(host: str | None, port: str | None) -> dict[str, str]:
    options = {f"{PREFIX}HOST": host, f"{PREFIX}PORT": port}
    return {**os.environ, **{name: value for name, value in options.items() if value}}


def start(environment: dict[str, str], *, surfaces: bool) -> Exit:
    """Serve, or without ``surfaces`` only work, with the settings in the environment; the exit status."""
    end_on_sigterm()
    open_files_up_to_the_hard_limit()
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        return _refuse(str(error), Exit.MISCONFIGURED)
    if not surfaces and settings.redis_url is None:
        return _refuse(f"{PREFIX}REDIS_URL: is required, a worker shares its queue through it", Exit.MISCONFIGURED)
    with ExitStack() as stack:
        try:
            listeners = _listeners(settings, stack)
        except CannotListen as error:
            return _refuse(str(error), Exit.UNAVAILABLE)
        # Port 0 is any free one: from here on the settings name the one that it became.
        settings = settings.model_copy(update={"port": listeners.public.getsockname()[1]})
        return _serve(settings, environment, listeners, stack, surfaces=surfaces)


class CannotListen(Exception):
    """An address that cannot be listened on, and why."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen: the public one and, where it is wanted, the one of the admin API."""

    public: socket.socket
    admin: socket.socket | None = None


def _listeners(settings: Settings, stack: ExitStack) -> Listeners:
    public = stack.enter_context(_listener(settings.host, settings.port))
    if settings.admin_port is None:
        return Listeners(public)
    return Listeners(public, stack.enter_context(_listener(settings.admin_host, settings.admin_port)))


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise CannotListen(f"{host}:{port} cannot be listened on: {error.strerror}") from None


def _serve(
    settings: Settings, environment: dict[str, str], listeners: Listeners, stack: ExitStack, *, surfaces: bool
) -> Exit:
    # Imported only now: a wrong setting is told at once, and the server's imports take their time.
    from config.composition import CompositionError, build, start_logging
    from domain.errors import Unfit
    from entrypoints import demo
    from entrypoints.http.assembly import assemble
    from entrypoints.http.running import serve as run

    start_logging(settings)
    try:
        if settings.demo and surfaces:
            stage = stack.enter_context(demo.stage(settings, environment))
            container = build(stage.settings, own_providers=stage.providers)
            app = assemble(container, before=partial(demo.set_up, container.tenants(), stage), admin=listeners.admin)
            app.register_listener(_greeting(demo.welcome(stage, container.registry())), "after_server_start")
        else:
            app = assemble(build(settings), surfaces=surfaces, admin=listeners.admin)
        run(app, listeners.public)
    except (CompositionError, Unfit) as error:
        return _refuse(str(error), Exit.MISCONFIGURED)
    return Exit.DONE


def _greeting(text: str) -> Callable[[object], Coroutine[Any, Any, None]]:
    async def greet(_: object) -> None:
        # For people, beside the log and not in it: the commands must be copied as they stand.
        sys.stdout.write(text)
        sys.stdout.flush()

    return greet


def _refuse(problems: str, status: Exit) -> Exit:
    sys.stderr.write("Sluice cannot start:\n")
    sys.stderr.writelines(f"  {problem}\n" for problem in problems.splitlines())
    return status
