"""How the targets are: models at providers, each asked with one key."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.metrics.tables import Level
from domain.circuits import State
from domain.completions.health import Condition, Health

TARGETS = Level("sluice_targets", "Targets that were asked of late, by state", ("provider", "state"))
RUNNING = Level("sluice_provider_requests_open", "Requests to providers under way", ("provider",))

LEVELS = (TARGETS, RUNNING)


@dataclass(frozen=True, slots=True)
class Targets:
    """Reads what is known of the targets, on every scrape."""

    health: Health

    def __call__(self) -> Iterator[Level]:
        states, running = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for condition in self.health.conditions():
            states[condition.provider, self._state(condition)] += 1
            running[(condition.provider,)] += condition.bulkhead.running
        yield TARGETS.with_rows(states)
        yield RUNNING.with_rows(running)

    def _state(self, condition: Condition) -> str:
        """The first of the reasons why it is let alone; the circuit's state where there is no other."""
        if condition.drained:
            return "drained"
        if self.health.is_quarantined(condition):
            return "quarantined"
        circuit = condition.circuit.state
        if circuit is State.CLOSED and self.health.seconds_at_rest(condition) > 0:
            return "cooling"
        return circuit.value
