"""All commands under one name."""

from collections.abc import Sequence

import typer

from entrypoints.cli import (
    balances,
    check,
    imports,
    keys,
    ledger,
    ping,
    providers,
    runs,
    secrets,
    serving,
    tenants,
    tokens,
)

_ABOUT = """A gateway for OpenAI-compatible chat completions.

Configured by SLUICE_* variables, or a TOML file named by SLUICE_CONFIG."""

# A traceback with the values of variables would show keys and tokens.
app = typer.Typer(name="sluice", help=_ABOUT, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(serving.serve)
app.command()(serving.worker)
app.command()(check.check)
app.command()(balances.balance)
app.command()(providers.providers)
app.command()(ping.ping)
for name, group in (
    ("tenant", tenants.commands),
    ("key", keys.commands),
    ("token", tokens.commands),
    ("ledger", ledger.commands),
    ("secrets", secrets.commands),
    ("runs", runs.commands),
    ("import", imports.commands),
):
    app.add_typer(group, name=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, those of the process by default, and end with its status."""
    app(args=arguments, prog_name="sluice")
