"""``sluice balance``: what accounts can spend."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from domain.ledger import Account
from entrypoints.cli.arguments import AsJson, TenantName, an_id
from entrypoints.cli.telling import progress, say_rows
from entrypoints.cli.working import at_the_stores

if TYPE_CHECKING:
    from config.container import Container


def balance(
    tenant: TenantName,
    group: Annotated[str | None, typer.Argument(parser=an_id, metavar="GROUP")] = None,
    user: Annotated[str | None, typer.Argument(parser=an_id, metavar="USER")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the users of a tenant, of a group, or one user can spend, in tokens."""

    async def work(container: "Container") -> None:
        ledger = container.ledger()
        found: set[Account] = {Account(tenant, group, user)} if group and user else set()
        async with progress("accounts") as step:
            if not found:
                async for account in ledger.accounts(tenant):
                    if group in (None, account.group):
                        found.add(account)
                        step()
            ordered = sorted(found, key=lambda account: (account.group, account.user))
            rows = [{**asdict(account), "available": await ledger.available(account)} for account in ordered]
        say_rows(rows, ["tenant", "group", "user", "available"], as_json=as_json)

    at_the_stores(work)
