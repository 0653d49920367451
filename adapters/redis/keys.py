"""Every key in Redis, and the channels. Keys that one script touches share a slot, by the hash tag in braces.

Ids hold neither colon nor brace, so no id can make one key look like another.
"""

import re
from dataclasses import dataclass

from domain.ids import is_id
from domain.ledger import Account
from domain.runs import Run, conversation_shard, is_run_id, shard_of
from domain.tenants import TenantId, UserId

_DIGEST = re.compile(r"[0-9a-f]{64}")


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
class ShardKeys:
    """What the runs of one shard share: who waits, whose turn it is, and when each is overdue."""

    ready: str
    turns: str
    leases: str

    @classmethod
    def of(cls, shard: int) -> "ShardKeys":
        tag = _shard(shard)
        return cls(f"{tag}:ready", f"{tag}:turns", f"{tag}:leases")


@dataclass(frozen=True, slots=True)
class RunKeys:
    record: str
    request: str
    log: str
    result: str
    attended: str

    @classmethod
    def of(cls, run_id: str) -> "RunKeys":
        if not is_run_id(run_id):
            raise ValueError("not the id of a run")
        tag = _shard(shard_of(run_id))
        # Scripts that find a run make the names of its keys themselves.
        return cls(*(f"{tag}:{kind}:{run_id}" for kind in ("record", "request", "log", "result", "attended")))


#: The workers of all shards.
WORKERS = "workers"


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


def name(digest: str) -> str:
    """What remembers which run has a name."""
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError("not a name")
    return f"{_shard(int(digest[0], 16))}:name:{digest}"


def channel(topic: str) -> str:
    """Where the doorbell is rung for a topic; scripts make these names, too."""
    return f"doorbell:{topic}"


def _shard(number: int) -> str:
    return f"{{run:{number:02}}}"


def _id(text: str) -> str:
    if not is_id(text):
        raise ValueError("not an id")
    return text
