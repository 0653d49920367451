"""Balances as operators see them: what is there, what changed it, and changes that are carried out once."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from domain.administration.access import Operator
from domain.administration.tenants import TenantAdministration, groups_of
from domain.errors import InvalidGroup
from domain.facts import Administered
from domain.ledger import Account, Entry
from domain.ports import Journal, Ledger
from domain.tenants import TenantId


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account can spend: ``available`` is its balance less its open holds, in tokens."""

    account: Account
    available: int


@dataclass(frozen=True, slots=True)
class BalanceAdministration:
    """Reads balances and changes them, of groups that exist."""

    tenants: TenantAdministration
    ledger: Ledger
    journal: Journal

    async def of_tenant(self, tenant_id: TenantId, limit: int) -> Sequence[Balance]:
        """Up to ``limit`` balances of a tenant, in the order of their accounts as far as they were found.

        Raises:
            UnknownTenant: there is no such tenant.
        """
        await self.tenants.show(tenant_id)
        found: set[Account] = set()
        async with aclosing(self.ledger.accounts(tenant_id)) as accounts:
            async for account in accounts:
                found.add(account)
                if len(found) == limit:
                    break
        ordered = sorted(found, key=lambda account: (account.group, account.user))
        return [Balance(account, await self.ledger.available(account)) for account in ordered]

    async def show(self, account: Account) -> Balance:
        """The balance of an account; nothing where it has no record.

        Raises:
            UnknownTenant, InvalidGroup: there is no such tenant or group.
        """
        await self._require_account(account)
        return Balance(account, await self.ledger.available(account))

    async def history(self, account: Account, before: str | None, limit: int) -> Sequence[Entry]:
        """What changed the balance, newest first; raises what ``show`` does."""
        await self._require_account(account)
        return await self.ledger.history(account, before=before, limit=limit)

    async def grant(self, by: Operator, account: Account, operation: str, amount: int) -> Balance:
        """Add tokens, once for each operation.

        Raises:
            UnknownTenant, InvalidGroup: there is no such tenant or group.
            OperationConflict, BalanceTooLarge: nothing was changed.
        """
        await self._require_account(account)
        available = await self.ledger.grant(account, operation, amount)
        self._tell(by, "balance.grant", account, operation)
        return Balance(account, available)

    async def adjust(self, by: Operator, account: Account, operation: str, balance: int) -> Balance:
        """Set a balance, once for each operation; raises what ``grant`` does."""
        await self._require_account(account)
        available = await self.ledger.adjust(account, operation, balance)
        self._tell(by, "balance.adjust", account, operation)
        return Balance(account, available)

    async def _require_account(self, account: Account) -> None:
        if account.group not in groups_of(await self.tenants.show(account.tenant)):
            raise InvalidGroup

    def _tell(self, by: Operator, action: str, account: Account, operation: str) -> None:
        subject = f"{account.group}:{account.user}"
        self.journal.record(
            Administered(by.name, action, account.tenant, subject, (f"operation:{operation}",), by.request_id)
        )
