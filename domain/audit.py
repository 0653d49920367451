"""Whether an account's history explains its balance and its holds: pure, and the same for every store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domain.ledger import Account, Entry, EntryKind, Finding, bounded

#: What can come after what, for one hold. A history is capped, so that it may begin with any of them.
_NEXT: Mapping[EntryKind | None, frozenset[EntryKind]] = {
    None: frozenset({EntryKind.HOLD, EntryKind.SETTLE, EntryKind.RELEASE, EntryKind.LAPSE}),
    EntryKind.HOLD: frozenset({EntryKind.SETTLE, EntryKind.RELEASE, EntryKind.LAPSE}),
    EntryKind.LAPSE: frozenset({EntryKind.SETTLE}),
    EntryKind.SETTLE: frozenset(),
    EntryKind.RELEASE: frozenset(),
}


@dataclass(slots=True)
class _Replay:
    """What the entries so far say: the last kind for each hold, and the amounts of those that they opened."""

    balance: int
    held: int
    last: dict[str, EntryKind] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)

    def follow(self, entry: Entry) -> Iterator[str]:
        """Take the step of an entry, and tell what of it does not follow from what was before."""
        if entry.kind in {EntryKind.GRANT, EntryKind.ADJUST}:
            yield from self._change(entry)
        else:
            yield from self._step(entry)
        balance = _balance_after(self.balance, entry)
        if entry.balance != balance:
            yield f"Entry {entry.id} ({entry.kind.value}) leaves a balance of {entry.balance}, not of {balance}."
        self.balance, self.held = entry.balance, entry.held

    def _change(self, entry: Entry) -> Iterator[str]:
        if entry.operation in self.operations:
            yield f"Entry {entry.id} carries out {entry.operation} again."
        self.operations.add(entry.operation)
        if entry.held != self.held:
            yield f"Entry {entry.id} ({entry.kind.value}) leaves {entry.held} held, not {self.held}."

    def _step(self, entry: Entry) -> Iterator[str]:
        before = self.last.get(entry.operation)
        if entry.kind not in _NEXT[before]:
            was = before.value if before is not None else "nothing"
            yield f"Entry {entry.id} is a {entry.kind.value} after a {was} of hold {entry.operation}."
        self.last[entry.operation] = entry.kind
        if entry.kind is EntryKind.HOLD:
            held = self.held + entry.amount
            self.amounts[entry.operation] = entry.amount
        elif before is None:
            # It was opened before the first entry that is left, or was never: how much it freed is not known.
            held = min(self.held, entry.held)
        else:
            amount = self.amounts.pop(entry.operation, 0)
            held = self.held - amount
            if entry.kind is EntryKind.LAPSE and entry.amount > amount:
                yield f"Entry {entry.id} charges {entry.amount} for a lapsed hold of {amount}."
        if entry.held != held:
            yield f"Entry {entry.id} ({entry.kind.value}) leaves {entry.held} held, not {held}."


def examine(
    account: Account, balance: int, holds: Mapping[str, int], held: int, entries: Sequence[Entry]
) -> Sequence[Finding]:
    """What the entries, oldest first, do not explain of a balance, of the open holds and of ``held``, their sum."""
    return tuple(Finding(account, what) for what in _examine(balance, holds, held, entries))


def _examine(balance: int, holds: Mapping[str, int], held: int, entries: Sequence[Entry]) -> Iterator[str]:
    if held != sum(holds.values()):
        yield f"{held} are held, but the open holds are of {sum(holds.values())}."
    if not entries:
        return
    replay = _begin(entries[0])
    for entry in entries:
        yield from replay.follow(entry)
    if balance != replay.balance:
        yield f"The balance is {balance}, but {replay.balance} after the last entry."
    if held != replay.held:
        yield f"{held} are held, but {replay.held} after the last entry."
    for hold_id in sorted(replay.amounts.keys() | holds.keys()):
        yield from _compare(hold_id, holds.get(hold_id), replay)


def _begin(first: Entry) -> _Replay:
    """What must have been there before the first entry that is left, so that it follows."""
    held = first.held - first.amount if first.kind is EntryKind.HOLD else first.held
    return _Replay(first.balance - _effect(first), held)


def _compare(hold_id: str, amount: int | None, replay: _Replay) -> Iterator[str]:
    recorded = replay.amounts.get(hold_id)
    if recorded is None and hold_id in replay.last:
        yield f"Hold {hold_id} is open, but has ended with a {replay.last[hold_id].value}."
    elif recorded is not None and amount != recorded:
        yield f"Hold {hold_id} is of {amount or 0}, but was opened with {recorded}."


def _balance_after(balance: int, entry: Entry) -> int:
    # From one end of the range to the other, the difference itself is out of range.
    if entry.kind is EntryKind.ADJUST and entry.amount == bounded(entry.balance - balance):
        return entry.balance
    return bounded(balance + _effect(entry))


def _effect(entry: Entry) -> int:
    """What an entry did to the balance."""
    match entry.kind:
        case EntryKind.GRANT | EntryKind.ADJUST:
            return entry.amount
        case EntryKind.SETTLE | EntryKind.LAPSE:
            return -entry.amount
        case _:
            return 0
