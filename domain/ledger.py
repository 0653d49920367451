"""The ledger's terms: accounts, holds, and the history of a balance, in whole tokens."""

import re
from dataclasses import dataclass
from enum import Enum

from domain.tenants import GroupId, TenantId, UserId
from domain.tokens import MAX_TOKENS

#: Unix milliseconds and a number; more digits than a store can take are none.
_ENTRY_ID = re.compile(r"\d{1,15}-\d{1,15}", re.ASCII)


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
class Deposit:
    """What a run needs set aside before it begins: a hold, as ``Ledger.hold`` describes it. ``seconds`` is how long
    the hold stands by itself.
    """

    account: Account
    hold_id: str
    wanted: int
    least: int
    initial: int
    seconds: float
    lasting: bool


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


#: How many entries of an account are kept at least; older ones go.
HISTORY = 1_000


def bounded(tokens: int) -> int:
    """The nearest number that a store keeps exactly."""
    return max(-MAX_TOKENS, min(tokens, MAX_TOKENS))


def require_tokens(tokens: int, *, least: int = 0) -> int:
    """The number itself, if it is one that may be asked for; else ValueError, before anything is written."""
    if not least <= tokens <= MAX_TOKENS:
        raise ValueError(f"{tokens} is not between {least} and {MAX_TOKENS} tokens")
    return tokens


def require_seconds(seconds: float) -> float:
    """The time itself, if a hold may last so long: a millisecond to a year; else ValueError."""
    if not 0.001 <= seconds <= 31_536_000:
        raise ValueError(f"a hold cannot last for {seconds} seconds")
    return seconds


def is_entry_id(text: str) -> bool:
    return _ENTRY_ID.fullmatch(text) is not None
