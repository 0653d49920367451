"""What is known of the targets, in this process: one condition for each, and the keys that were refused."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from domain.circuits import Circuit
from domain.completions.bulkheads import Berths, Bulkhead
from domain.providers import Target

#: How many targets are known at most; those that were asked longest ago are forgotten.
_KNOWN = 10_000


@dataclass(slots=True)
class Condition:
    """What is known of one target. Times are by the monotonic clock, durations in seconds.

    ``rests_until`` is when its key may be asked for this model again. ``may_probe`` says whether this replica may probe
    an open circuit; None where it need not ask others.
    """

    target_id: str
    provider: str
    model: str
    key_id: str
    bulkhead: Bulkhead
    circuit: Circuit = field(default_factory=Circuit)
    rests_until: float = 0.0
    drained: bool = False
    asked: int = 0
    wanted_at: float = 0.0
    may_probe: bool | None = None
    seconds: float | None = None
    first_token_seconds: float | None = None


class Conditions:
    """Conditions by target, the one asked longest ago first. ``quarantined`` says when a key may be used again."""

    def __init__(self, berths: Berths) -> None:
        self._berths = berths
        self._known: OrderedDict[str, Condition] = OrderedDict()
        self.quarantined: dict[str, float] = {}

    def __iter__(self) -> Iterator[Condition]:
        return iter(tuple(self._known.values()))

    def get(self, target_id: str) -> Condition | None:
        return self._known.get(target_id)

    def of(self, target: Target) -> Condition:
        target_id = target.id
        known = self._known.get(target_id)
        if known is not None:
            self._known.move_to_end(target_id)
            return known
        bulkhead = Bulkhead(self._berths)
        condition = Condition(target_id, target.provider.id, target.sent_model, target.key_id, bulkhead)
        self._known[target_id] = condition
        if len(self._known) > _KNOWN:
            self._forget()
        return condition

    def _forget(self) -> None:
        """Make room by the target that was asked longest ago, of those at which nothing is under way."""
        oldest = next((key for key, it in self._known.items() if not it.bulkhead.running), None)
        if oldest is not None:
            del self._known[oldest]
