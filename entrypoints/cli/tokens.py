"""``sluice token``: tokens for development; in service they are the issuer's."""

import time
from typing import Annotated

import typer

from config.settings import PREFIX
from entrypoints.cli.arguments import UserName, an_id
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import say
from entrypoints.cli.working import fail, settings_given

commands = typer.Typer(help="Make tokens for development.", no_args_is_help=True)


@commands.callback()
def tokens() -> None:
    """Make tokens for development."""


@commands.command()
def mint(
    user: UserName,
    tenant: Annotated[list[str] | None, typer.Option(parser=an_id, help="A tenant; may be given again.")] = None,
    group: Annotated[str | None, typer.Option(parser=an_id, help="The user's group there.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be given again.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="How long it is good.")] = 3600,
) -> None:
    """Print a token that is signed with SLUICE_JWT_SECRET."""
    from config.composition import minting

    sign = minting(settings_given())
    if sign is None:
        fail(f"{PREFIX}JWT_SECRET: is required; with an issuer alone, only that can make tokens", Exit.MISCONFIGURED)
    tenants = tenant or []
    groups = dict.fromkeys(tenants, group) if group is not None else {}
    say(sign(user, tenants=tenants, groups=groups, lifetime=seconds, now=time.time(), scopes=scope or ()))
