"""``sluice ledger``: what an operator asks of the ledger, and tells it, from a shell."""

import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from domain.facts import Administered
from domain.ledger import Account, Entry
from entrypoints.cli.arguments import NUMBERS, AsJson, GroupName, TenantName, UserName, an_id, some, tokens
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import progress, say, say_json
from entrypoints.cli.working import at_the_stores, whoever

if TYPE_CHECKING:
    from config.container import Container

commands = typer.Typer(help="Look after the balances in the Redis of SLUICE_REDIS_URL.", no_args_is_help=True)

Operation: TypeAlias = Annotated[
    str | None,
    typer.Option(parser=an_id, metavar="ID", help="The same operation again changes nothing (default: a new one)."),
]


@commands.command()
def audit(
    tenant: Annotated[
        str | None, typer.Option(parser=an_id, metavar="TENANT", help="Only this tenant's accounts.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay every history against its balance; ends with 1 if any differs."""

    async def work(container: "Container") -> Exit:
        ledger = container.ledger()
        seen: set[Account] = set()
        findings: list[dict[str, str]] = []
        async with progress("accounts") as step:
            async for account in ledger.accounts(tenant):
                if account in seen:
                    continue
                seen.add(account)
                findings += [{**asdict(account), "what": found.what} for found in await ledger.audit(account)]
                step()
        if as_json:
            say_json({"accounts": len(seen), "findings": findings})
        else:
            for found in findings:
                say(f"{found['tenant']}:{found['group']}:{found['user']}: {found['what']}")
            say(f"{len(seen)} accounts, {len(findings)} findings")
        return Exit.FINDINGS if findings else Exit.DONE

    at_the_stores(work)


@commands.command()
def history(
    tenant: TenantName,
    group: GroupName,
    user: UserName,
    limit: Annotated[int, typer.Option(min=1, help="The most lines to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what changed a balance, newest first."""

    async def work(container: "Container") -> None:
        entries = await container.ledger().history(Account(tenant, group, user), limit=limit)
        if as_json:
            say_json([{**asdict(entry), "kind": entry.kind.value} for entry in entries])
            return
        for entry in entries:
            say(_line(entry))

    at_the_stores(work)


@commands.command(context_settings=NUMBERS)
def grant(
    tenant: TenantName,
    group: GroupName,
    user: UserName,
    amount: Annotated[int, typer.Argument(parser=some, metavar="TOKENS")],
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Add tokens to a balance."""

    async def work(container: "Container") -> None:
        account, named = Account(tenant, group, user), _named(operation)
        available = await container.ledger().grant(account, named, amount)
        _record(container, "balance.grant", account, named)
        _say_available(account, available, as_json=as_json)

    at_the_stores(work)


@commands.command(context_settings=NUMBERS)
def adjust(
    tenant: TenantName,
    group: GroupName,
    user: UserName,
    balance: Annotated[int, typer.Argument(parser=tokens, metavar="TOKENS")],
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Set a balance."""

    async def work(container: "Container") -> None:
        account, named = Account(tenant, group, user), _named(operation)
        available = await container.ledger().adjust(account, named, balance)
        _record(container, "balance.adjust", account, named)
        _say_available(account, available, as_json=as_json)

    at_the_stores(work)


def _line(entry: Entry) -> str:
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")[:-6]
    return (
        f"{at}Z  {entry.kind.value:<8}  {entry.amount:>12}  balance {entry.balance:>12}  held {entry.held:>12}  "
        f"{entry.operation}"
    )


def _record(container: "Container", action: str, account: Account, operation: str) -> None:
    subject = f"{account.group}:{account.user}"
    container.journal().record(
        Administered(whoever().name, action, account.tenant, subject, (f"operation:{operation}",))
    )


def _say_available(account: Account, available: int, *, as_json: bool) -> None:
    if as_json:
        say_json({**asdict(account), "available": available})
    else:
        say(f"{account.tenant}:{account.group}:{account.user}: {available} tokens available")


def _named(operation: str | None) -> str:
    return operation or f"cli-{uuid.uuid4().hex}"
