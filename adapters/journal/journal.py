"""The domain's journal, written to the log."""

from adapters.journal.lines import line_of
from adapters.journal.sinks import tell
from domain.facts import Fact


class LoguruJournal:
    """Makes a log line of each fact; ``sinks.configure_logging`` says where to and in which form."""

    def record(self, fact: Fact) -> None:
        tell(line_of(fact))
