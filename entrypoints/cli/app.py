"""All commands under one name."""

from collections.abc import Sequence

import typer

from entrypoints.cli import ledger, secrets, serving

_ABOUT = """A gateway for OpenAI-compatible chat completions.

Configured by SLUICE_* variables, or a TOML file named by SLUICE_CONFIG."""

# A traceback with the values of variables would show keys and tokens.
app = typer.Typer(name="sluice", help=_ABOUT, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(serving.serve)
app.command()(serving.worker)
app.add_typer(ledger.commands, name="ledger")
app.add_typer(secrets.commands, name="secrets")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, those of the process by default, and end with its status."""
    app(args=arguments, prog_name="sluice")
