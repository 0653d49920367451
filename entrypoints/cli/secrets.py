"""``sluice secrets``: the keys that seal the tenants' provider keys."""

import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated

import typer

from domain.administration.secrets import SecretRotation
from domain.ports import Resealed
from entrypoints.cli.arguments import AsJson
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain, progress, say, say_json
from entrypoints.cli.working import at_the_stores, fail, settings_given

if TYPE_CHECKING:
    from config.container import Container

commands = typer.Typer(
    help="Look after the keys that seal the tenants' provider keys in the Redis of SLUICE_REDIS_URL.",
    no_args_is_help=True,
)


@commands.command("make-key")
def make_key(
    name: Annotated[str, typer.Argument(metavar="ID", help="What the key is to be called.", show_default=False)],
) -> None:
    """Make a key for SLUICE_SECRET_KEYS; it is printed, and kept nowhere."""
    say(f"{name}:{b64encode(secrets.token_bytes(32)).decode()}")


@commands.command()
def rotate(as_json: AsJson = False) -> None:
    """Seal the provider keys of all tenants with the first key of SLUICE_SECRET_KEYS, those in the clear too.

    Gateways may go on serving. Ends with 1 if some cannot be opened with any of the keys.
    """
    settings = settings_given()
    if settings.secret_keys is None and settings.secret_keys_file is None:
        fail("SLUICE_SECRET_KEYS: is required, there is no key to seal with", Exit.MISCONFIGURED)

    async def work(container: "Container") -> Exit:
        async with progress("tenants") as step:
            found = await SecretRotation(container.documents()).rotate(step)
        counts = {outcome.value: found.counts.get(outcome, 0) for outcome in Resealed}
        if as_json:
            say_json({**counts, "tenants_unreadable": list(found.unreadable)})
        else:
            say(", ".join(f"{count} {what}" for what, count in counts.items()))
            complain("\n".join(f"{tenant_id}: its keys cannot be opened" for tenant_id in found.unreadable))
        return Exit.FINDINGS if found.unreadable else Exit.DONE

    at_the_stores(work)
