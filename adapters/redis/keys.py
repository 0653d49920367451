"""Every key in Redis. Keys that one script touches share a slot, by the hash tag in braces.

Ids hold neither colon nor brace, so no id can make one key look like another.
"""

from dataclasses import dataclass

from domain.ids import is_id
from domain.ports import Account
from domain.runs import Run, conversation_shard, is_run_id, shard_of
from domain.tenants import TenantId, UserId


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The balance stands at its plain name, where an operator looks for it; what goes with it carries that as tag."""

    balance: str
    holds: str

    @classmethod
    def of(cls, account: Account) -> "AccountKeys":
        balance = f"tokens:{_id(account.tenant)}:{_id(account.group)}:{_id(account.user)}"
        return cls(balance, f"{{{balance}}}:holds")

    def closed(self, hold_id: str) -> str:
        """What remembers that a hold was settled or released."""
        return f"{{{self.balance}}}:closed:{_id(hold_id)}"


@dataclass(frozen=True, slots=True)
class RunKeys:
    record: str
    log: str
    result: str

    @classmethod
    def of(cls, run_id: str) -> "RunKeys":
        if not is_run_id(run_id):
            raise ValueError("not the id of a run")
        tag = _shard(shard_of(run_id))
        return cls(f"{tag}:record:{run_id}", f"{tag}:log:{run_id}", f"{tag}:result:{run_id}")


def tenant(tenant_id: TenantId) -> str:
    return f"tenant:{_id(tenant_id)}"


def meter(tenant_id: TenantId, name: str) -> str:
    return f"ratelimit:{{{_id(tenant_id)}}}:{_id(name)}"


def conversation(tenant_id: TenantId, user: UserId, conversation_id: str) -> str:
    """The pointer to a conversation's latest run, in the shard of its runs."""
    tag = _shard(conversation_shard(tenant_id, user, conversation_id))
    return f"{tag}:conversation:{_id(tenant_id)}:{_id(user)}:{_id(conversation_id)}"


def conversation_of(run: Run) -> str | None:
    """The pointer of a run's conversation; None where it has none."""
    if run.conversation is None:
        return None
    if shard_of(run.id) != conversation_shard(run.tenant, run.user, run.conversation):
        raise ValueError("the run is not in the shard of its conversation")
    return conversation(run.tenant, run.user, run.conversation)


def _shard(number: int) -> str:
    return f"{{run:{number:02}}}"


def _id(text: str) -> str:
    if not is_id(text):
        raise ValueError("not an id")
    return text
