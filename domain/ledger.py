"""The ledger's terms: accounts, holds, and the history of a balance, in whole tokens."""

from dataclasses import dataclass
from enum import Enum

from domain.tenants import GroupId, TenantId, UserId


@dataclass(frozen=True, slots=True)
class Account:
    """Whose balance: one user in one group of one tenant."""

    tenant: TenantId
    group: GroupId
    user: UserId


@dataclass(frozen=True, slots=True)
class Hold:
    """``amount`` tokens set aside for a run; at most what was available, and so at times less than was wanted."""

    id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a run cost, for the ledger to be told: ``cost`` in tokens, None where it is only to release the hold."""

    account: Account
    hold_id: str
    cost: int | None


class EntryKind(Enum):
    """What a line of a history records."""

    GRANT = "grant"
    """Tokens were added: by an operator, or to a user who was new."""
    ADJUST = "adjust"
    """An operator overwrote the balance; ``amount`` is the difference, which can be negative."""
    HOLD = "hold"
    """Tokens were set aside; the balance is what it was."""
    SETTLE = "settle"
    """A hold ended and was charged ``amount``, or a hold that had lapsed was charged the rest of its cost."""
    RELEASE = "release"
    """A hold ended at no cost."""
    LAPSE = "lapse"
    """A hold's time was over; it was charged what its owner had last said that it used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an account's history, with what was there after it.

    ``at`` is in Unix seconds; ``operation`` is the id that makes the entry the only one of its kind: of a hold, a
    grant, an adjustment. ``balance`` and ``held`` are in tokens; what is available is their difference.
    """

    id: str
    at: float
    kind: EntryKind
    operation: str
    amount: int
    balance: int
    held: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in an account that its history does not explain. ``what`` is one sentence with the numbers."""

    account: Account
    what: str
