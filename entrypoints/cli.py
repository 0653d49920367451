"""The command line: ``sluice``."""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from config.settings import PREFIX, Settings, SettingsError, read_settings
from entrypoints import ledger_command

#: https://man.openbsd.org/sysexits: something needed is not to be had; the configuration is wrong.
EX_UNAVAILABLE = 69
EX_CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, those of the process by default."""
    given = _parser().parse_args(arguments)
    if given.command == "ledger":
        sys.exit(keep_ledger(dict(os.environ), given))
    options = {PREFIX + name.upper(): value for name, value in vars(given).items() if name != "command" and value}
    sys.exit(start({**os.environ, **options}, surfaces=given.command == "serve"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sluice", description="A gateway for OpenAI-compatible chat completions.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    configured = "Configured by SLUICE_* variables, or a TOML file named by SLUICE_CONFIG."
    for name, about in (
        ("serve", f"Serve until SIGTERM, and work off queued completions. {configured}"),
        ("worker", f"Only work off queued completions until SIGTERM; listens for health checks. {configured}"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--host", help="address to listen on, in place of SLUICE_HOST")
        command.add_argument("--port", help="port to listen on, in place of SLUICE_PORT")
    ledger_command.add_parser(commands)
    return parser


def keep_ledger(environment: dict[str, str], given: argparse.Namespace) -> int:
    """Carry out a command of the ledger; the exit status."""
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        return _refuse(str(error), EX_CONFIG)
    if settings.redis_url is None:
        return _refuse(f"{PREFIX}REDIS_URL: is required, there is no other ledger to look at", EX_CONFIG)
    from config.composition import CompositionError, build

    try:
        # The outbox is the serving processes' own.
        container = build(settings.model_copy(update={"outbox": None}))
        return ledger_command.run(container.ledger(), container.closers(), given)
    except CompositionError as error:
        return _refuse(str(error), EX_CONFIG)


def start(environment: dict[str, str], *, surfaces: bool) -> int:
    """Serve, or without ``surfaces`` only work, with the settings in the environment; the exit status."""
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        return _refuse(str(error), EX_CONFIG)
    if not surfaces and settings.redis_url is None:
        return _refuse(f"{PREFIX}REDIS_URL: is required, a worker shares its queue through it", EX_CONFIG)
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(_listener(settings.host, settings.port))
        except OSError as error:
            return _refuse(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}", EX_UNAVAILABLE)
        # Port 0 is any free one: from here on the settings name the one that it became.
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        return _serve(settings, environment, listener, stack, surfaces=surfaces)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)


def _serve(
    settings: Settings, environment: dict[str, str], listener: socket.socket, stack: ExitStack, *, surfaces: bool
) -> int:
    # Imported only now: a wrong setting is told at once, and the server's imports take their time.
    from config.composition import CompositionError, build, start_logging
    from domain.errors import Unfit
    from entrypoints import demo
    from entrypoints.http.app import serve as run
    from entrypoints.http.assembly import assemble

    start_logging(settings)
    try:
        if settings.demo and surfaces:
            stage = stack.enter_context(demo.stage(settings, environment))
            container = build(stage.settings, own_providers=stage.providers)
            app = assemble(container, before=partial(demo.set_up, container.tenants(), stage))
            app.register_listener(_greeting(demo.welcome(stage, container.registry())), "after_server_start")
        else:
            app = assemble(build(settings), surfaces=surfaces)
        run(app, listener)
    except (CompositionError, Unfit) as error:
        return _refuse(str(error), EX_CONFIG)
    return 0


def _greeting(text: str) -> Callable[[object], Coroutine[Any, Any, None]]:
    async def greet(_: object) -> None:
        # For people, beside the log and not in it: the commands must be copied as they stand.
        sys.stdout.write(text)
        sys.stdout.flush()

    return greet


def _refuse(problems: str, status: int) -> int:
    sys.stderr.write("Sluice cannot start:\n")
    sys.stderr.writelines(f"  {problem}\n" for problem in problems.splitlines())
    return status
