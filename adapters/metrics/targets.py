"""How the targets are: models at providers, each asked with one key."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.metrics.tables import Level
from domain.completions.targets import Targets

TARGETS = Level("sluice_targets", "Targets that were asked of late, by state", ("provider", "state"))
RUNNING = Level("sluice_provider_requests_open", "Requests to providers under way", ("provider",))

LEVELS = (TARGETS, RUNNING)


@dataclass(frozen=True, slots=True)
class TargetLevels:
    """Reads what is known of the targets, on every scrape."""

    targets: Targets

    def __call__(self) -> Iterator[Level]:
        states, running = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for view in self.targets.all():
            states[view.provider, view.state] += 1
            running[(view.provider,)] += view.running
        yield TARGETS.with_rows(states)
        yield RUNNING.with_rows(running)
