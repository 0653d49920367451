"""The command line: ``sluice``."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from typing import Annotated, NoReturn

import typer

from config.settings import Settings, SettingsError, read_settings

#: https://man.openbsd.org/sysexits: the configuration is wrong.
EX_CONFIG = 78

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Sluice, a gateway for chat completions.")


@cli.callback()
def _top() -> None:
    """Keeps the commands commands: typer would make a single one the program itself."""


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, in place of SLUICE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, in place of SLUICE_PORT.")] = None,
) -> None:
    """Serve until SIGTERM. Configured by SLUICE_* variables, or a TOML file named by SLUICE_CONFIG."""
    given = {"SLUICE_HOST": host, "SLUICE_PORT": str(port) if port is not None else None}
    environment = {**os.environ, **{name: value for name, value in given.items() if value is not None}}
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        _refuse(error)
    # Imported only now: a wrong setting is told at once, and the server's imports take their time.
    from config.container import CompositionError

    with ExitStack() as stack:
        try:
            run = _assemble(settings, environment, stack)
        except CompositionError as error:
            _refuse(error)
        run()


def _assemble(settings: Settings, environment: dict[str, str], stack: ExitStack) -> "partial[None]":
    from config.container import build
    from entrypoints import demo
    from entrypoints.http.app import serve as run
    from entrypoints.http.assembly import assemble

    if not settings.demo:
        return partial(run, assemble(build(settings)), settings.host, settings.port)
    backend = stack.enter_context(demo.backend(settings, environment))
    container = build(settings, demo_backend=(backend.provider, backend.base_url))
    app = assemble(container, before=partial(demo.set_up, container, backend))

    async def greet(_: object) -> None:
        # For people: it goes to standard output, beside the log, as the commands must be copied as they stand.
        sys.stdout.write(demo.welcome(container, settings, backend))
        sys.stdout.flush()

    app.register_listener(greet, "after_server_start")
    return partial(run, app, settings.host, settings.port)


def _refuse(error: Exception) -> NoReturn:
    typer.echo("Sluice cannot start:", err=True)
    for problem in str(error).splitlines():
        typer.echo(f"  {problem}", err=True)
    raise typer.Exit(EX_CONFIG)


def main() -> None:
    cli()
