"""Every metric that is looked up when somebody asks; ``docs/monitoring.md`` explains each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adapters.metrics.tables import Level
from domain.completions.runs import Occupation

BUILD = Level("sluice_build_info", "What runs here; always 1", ("version",))
OPEN = Level("sluice_http_requests_open", "HTTP requests being answered, streams included")
EXECUTING = Level("sluice_runs_executing", "Runs that this process executes")
WAITING = Level("sluice_queue_jobs", "Jobs that wait, of all replicas")
WAITED = Level("sluice_queue_age_seconds", "For how long the job has waited whose turn is next")
SLOTS = Level("sluice_queue_slots", "Jobs that all replicas and workers together execute at once")
SETTLEMENTS = Level("sluice_settlements_waiting", "Settlements in this process's outbox")

LEVELS = (BUILD, OPEN, EXECUTING, WAITING, WAITED, SLOTS, SETTLEMENTS)


@dataclass(slots=True)
class Levels:
    """Reads what is going on, on every scrape. ``open`` tells how many requests are being answered."""

    version: str
    occupation: Callable[[], Occupation]
    open: Callable[[], int] = lambda: 0

    def __call__(self) -> Iterator[Level]:
        now = self.occupation()
        yield BUILD.at(1, self.version)
        yield OPEN.at(self.open())
        yield EXECUTING.at(now.executing)
        yield WAITING.at(now.waiting)
        yield WAITED.at(now.waited_seconds)
        yield SLOTS.at(now.slots)
        yield SETTLEMENTS.at(now.settlements)
