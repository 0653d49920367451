"""The domain's journal, written to the log."""

from loguru import logger

from adapters.journal.lines import line_of
from domain.facts import Fact


class LoguruJournal:
    """Makes a log line of each fact; ``sinks.configure_logging`` says where to and in which form."""

    def record(self, fact: Fact) -> None:
        line = line_of(fact)
        logger.bind(told=line.told, **line.fields).log(line.level, line.message)
