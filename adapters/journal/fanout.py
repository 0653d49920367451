"""One journal that is several."""

from collections.abc import Sequence

from domain.facts import Fact
from domain.ports import Journal


class Journals:
    """Hands each fact to each of ``journals``, in their order."""

    def __init__(self, journals: Sequence[Journal]) -> None:
        self._journals = tuple(journals)

    def record(self, fact: Fact) -> None:
        for journal in self._journals:
            journal.record(fact)
