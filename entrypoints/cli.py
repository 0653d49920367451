"""The command line: ``sluice``."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from config.settings import PREFIX, Settings, SettingsError, read_settings

#: https://man.openbsd.org/sysexits: the configuration is wrong.
EX_CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, those of the process by default."""
    given = _parser().parse_args(arguments)
    options = {PREFIX + name.upper(): value for name, value in vars(given).items() if name != "command" and value}
    sys.exit(serve({**os.environ, **options}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sluice", description="A gateway for OpenAI-compatible chat completions.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "Serve until SIGTERM. Configured by SLUICE_* variables, or a TOML file named by SLUICE_CONFIG."
    command = commands.add_parser("serve", help=about, description=about)
    command.add_argument("--host", help="address to listen on, in place of SLUICE_HOST")
    command.add_argument("--port", help="port to listen on, in place of SLUICE_PORT")
    return parser


def serve(environment: dict[str, str]) -> int:
    """Serve with the settings in the environment; the exit status."""
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        return _refuse(error)
    # Imported only now: a wrong setting is told at once, and the server's imports take their time.
    from config.composition import CompositionError

    with ExitStack() as stack:
        try:
            run = _assemble(settings, environment, stack)
        except CompositionError as error:
            return _refuse(error)
        run()
    return 0


def _assemble(settings: Settings, environment: dict[str, str], stack: ExitStack) -> "partial[None]":
    from config.composition import build
    from entrypoints import demo
    from entrypoints.http.app import serve as run
    from entrypoints.http.assembly import assemble

    if not settings.demo:
        return partial(run, assemble(build(settings)), settings.host, settings.port)
    stage = stack.enter_context(demo.stage(settings, environment))
    container = build(stage.settings, own_providers=stage.providers)
    app = assemble(container, before=partial(demo.set_up, container.tenants(), stage))

    async def greet(_: object) -> None:
        # For people, beside the log and not in it: the commands must be copied as they stand.
        sys.stdout.write(demo.welcome(stage))
        sys.stdout.flush()

    app.register_listener(greet, "after_server_start")
    return partial(run, app, settings.host, settings.port)


def _refuse(error: Exception) -> int:
    sys.stderr.write("Sluice cannot start:\n")
    sys.stderr.writelines(f"  {problem}\n" for problem in str(error).splitlines())
    return EX_CONFIG
