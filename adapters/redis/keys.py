"""Every key in Redis, and the channels. Keys that one script touches share a slot, by the hash tag in braces.

Ids hold neither colon nor brace, so no id can make one key look like another.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from domain.ids import is_id
from domain.ledger import Account
from domain.runs import Run, conversation_shard, is_run_id, shard_of
from domain.tenants import TenantId, UserId

#: A request asks for the same keys at its beginning and at its end: so many are remembered of each kind.
_REMEMBERED = 4_096
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The balance stands at its plain name, where an operator looks for it; what goes with it carries that as tag."""

    balance: str
    holds: str
    history: str

    @staticmethod
    @lru_cache(_REMEMBERED)
    def of(account: Account) -> "AccountKeys":
        balance = f"tokens:{require_id(account.tenant)}:{require_id(account.group)}:{require_id(account.user)}"
        return AccountKeys(balance, f"{{{balance}}}:holds", f"{{{balance}}}:ledger")

    def closed(self, hold_id: str) -> str:
        """What remembers how a hold has ended; scripts make these names themselves."""
        return f"{{{self.balance}}}:closed:{require_id(hold_id)}"

    def operation(self, operation: str) -> str:
        """What remembers that a grant or an adjustment was carried out."""
        return f"{{{self.balance}}}:operation:{require_id(operation)}"


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """What the runs of one shard share: who waits, whose turn it is, and when each is overdue."""

    ready: str
    turns: str
    leases: str

    @staticmethod
    @lru_cache(_REMEMBERED)
    def of(shard: int) -> "ShardKeys":
        tag = _shard(shard)
        return ShardKeys(f"{tag}:ready", f"{tag}:turns", f"{tag}:leases")


@dataclass(frozen=True, slots=True)
class RunKeys:
    record: str
    request: str
    log: str
    result: str
    attended: str

    @staticmethod
    @lru_cache(_REMEMBERED)
    def of(run_id: str) -> "RunKeys":
        if not is_run_id(run_id):
            raise ValueError("not the id of a run")
        tag = _shard(shard_of(run_id))
        # Scripts that find a run make the names of its keys themselves.
        return RunKeys(*(f"{tag}:{kind}:{run_id}" for kind in ("record", "request", "log", "result", "attended")))


#: The workers of all shards.
WORKERS = "workers"
#: What all replicas found of the targets.
HEALTH = "health"


def tenant(tenant_id: TenantId) -> str:
    return f"tenant:{require_id(tenant_id)}"


def tenants() -> str:
    """The pattern of all tenants' documents."""
    return "tenant:*"


def balances(tenant_id: TenantId | None) -> str:
    """The pattern of all balances, or of a tenant's; an id has no character that means something in a pattern."""
    return "tokens:*" if tenant_id is None else f"tokens:{require_id(tenant_id)}:*"


def account_of(balance: str) -> Account | None:
    """Whose balance is at a key; None where the key is none of ours."""
    match balance.split(":"):
        case ["tokens", tenant_id, group, user] if is_id(tenant_id) and is_id(group) and is_id(user):
            return Account(tenant_id, group, user)
    return None


@lru_cache(_REMEMBERED)
def meter(tenant_id: TenantId, name: str) -> str:
    """A meter, whose name may have several parts: ``user:<group>:<id>:rpm``."""
    return f"ratelimit:{{{require_id(tenant_id)}}}:{':'.join(map(require_id, name.split(':')))}"


def conversation(tenant_id: TenantId, user: UserId, conversation_id: str) -> str:
    """The pointer to a conversation's latest run, in the shard of its runs."""
    tag = _shard(conversation_shard(tenant_id, user, conversation_id))
    return f"{tag}:conversation:{require_id(tenant_id)}:{require_id(user)}:{require_id(conversation_id)}"


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


def api_key(digest: str) -> str:
    """An API key, under the SHA-256 of what its owner has."""
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError("not a digest")
    return f"apikey:{digest}"


def api_keys(tenant_id: TenantId) -> str:
    """Which API keys a tenant has."""
    return f"apikeys:{require_id(tenant_id)}"


def channel(topic: str) -> str:
    """Where the doorbell is rung for a topic; scripts make these names, too."""
    return f"doorbell:{topic}"


def _shard(number: int) -> str:
    return f"{{run:{number:02}}}"


def require_id(text: str) -> str:
    """The text itself, if it is an id, which can become part of a key; else ValueError."""
    if not is_id(text):
        raise ValueError("not an id")
    return text
