"""Commands that work on the stores themselves, beside the gateways that serve from them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from config.settings import PREFIX, Settings, SettingsError, read_settings
from domain.errors import SluiceError, StoreUnavailable
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain

if TYPE_CHECKING:
    from config.container import Container
    from domain.administration.access import Operator


def fail(problems: str, status: Exit) -> NoReturn:
    """End the command: its problems, a line each, and its status."""
    complain(problems)
    raise typer.Exit(status)


def whoever() -> "Operator":
    """Whoever has this shell, for the audit."""
    import getpass

    from domain.administration.access import Operator

    try:
        return Operator(f"shell:{getpass.getuser()}")
    except (KeyError, OSError):
        # In a container, a user may be a number and no name.
        return Operator(f"shell:{os.getuid()}")


def settings_given() -> Settings:
    """The settings of this process, or the end of it."""
    try:
        return read_settings(os.environ)
    except SettingsError as error:
        fail(str(error), Exit.MISCONFIGURED)


def at_the_stores(work: Callable[["Container"], Awaitable[Exit | None]]) -> NoReturn:
    """Carry out ``work`` on the stores that the settings name, close them, and end with its status."""
    settings = settings_given()
    if settings.redis_url is None:
        fail(f"{PREFIX}REDIS_URL: is required, a store in this process would end with it", Exit.MISCONFIGURED)
    from config.composition import CompositionError, build, start_logging

    # What is changed is told here, as a gateway would tell it.
    start_logging(settings)
    try:
        # The outbox is the serving processes' own.
        container = build(settings.model_copy(update={"outbox": None}))
    except CompositionError as error:
        fail(str(error), Exit.MISCONFIGURED)
    raise typer.Exit(asyncio.run(_closing(container, work)) or Exit.DONE)


async def _closing(container: "Container", work: Callable[["Container"], Awaitable[Exit | None]]) -> Exit | None:
    try:
        return await work(container)
    except SluiceError as error:
        complain(error.message)
        return Exit.TRY_AGAIN if isinstance(error, StoreUnavailable) else Exit.REFUSED
    finally:
        for close in container.closers():
            await close()
