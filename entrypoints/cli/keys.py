"""``sluice key``: API keys, which stand for a user of a tenant where there is no issuer of tokens."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from domain.chat import JsonObject
from domain.keys import ApiKey
from entrypoints.cli.arguments import AsJson, GroupName, TenantName, UserName
from entrypoints.cli.telling import complain, say, say_json, say_rows
from entrypoints.cli.working import at_the_stores, whoever

if TYPE_CHECKING:
    from config.container import Container

commands = typer.Typer(help="Look after API keys in the Redis of SLUICE_REDIS_URL.", no_args_is_help=True)

_DAY = 86_400


@commands.command()
def create(
    tenant: TenantName,
    group: GroupName,
    user: UserName,
    name: Annotated[str, typer.Option(help="What it is for, as lists show it.")] = "made from a shell",
    days: Annotated[int | None, typer.Option(min=1, help="Days for which it is good (default: until revoked).")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be given again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: nobody can ever show it again."""
    from domain.credentials import KeyGrant

    expires = int(time.time()) + days * _DAY if days is not None else None
    grant = KeyGrant(tenant, group, user, name, expires, frozenset(scope or ()))

    async def work(container: "Container") -> None:
        key, secret = await container.key_administration().issue(whoever(), grant)
        if as_json:
            say_json({**shown(key), "key": secret})
            return
        complain(f"{key.id}, for {user} of {group} in {tenant}. Keep it: it is shown this once.")
        say(secret)

    at_the_stores(work)


@commands.command("list")
def list_(tenant: TenantName, as_json: AsJson = False) -> None:
    """List a tenant's keys by their beginnings."""

    async def work(container: "Container") -> None:
        rows = [shown(key) for key in await container.key_administration().list(tenant)]
        say_rows(rows, ["id", "start", "group", "user", "name", "expires", "scopes"], as_json=as_json)

    at_the_stores(work)


@commands.command()
def revoke(tenant: TenantName, key: Annotated[str, typer.Argument(metavar="KEY-ID")]) -> None:
    """Put an end to a key: no replica takes it 5 seconds later."""

    async def work(container: "Container") -> None:
        await container.key_administration().revoke(whoever(), tenant, key)
        say(f"{key}: revoked")

    at_the_stores(work)


def shown(key: ApiKey) -> JsonObject:
    """A key as it is listed: not what it is known by."""
    return {
        "id": key.id,
        "start": key.start,
        "tenant": key.tenant,
        "group": key.group,
        "user": key.user,
        "name": key.name,
        "created": _moment(key.created),
        "expires": _moment(key.expires),
        "scopes": sorted(key.scopes),
    }


def _moment(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds is not None else None
