"""Labels whose values others choose, bounded."""

from adapters.metrics.tables import OTHER
from domain.models import Catalogue

#: How many names are remembered; a caller can make up any number of them.
_REMEMBERED = 2_000


class ModelNames:
    """The catalogue's name of whatever model a provider was asked for; OTHER for one that the catalogue has not."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[tuple[str, str], str] = {}

    def of(self, provider: str, model: str) -> str:
        name = self._known.get((provider, model))
        return name if name is not None else self._look_up(provider, model)

    def _look_up(self, provider: str, model: str) -> str:
        offer = self._catalogue.find(provider, model)
        name = offer.model.name if offer is not None else OTHER
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[provider, model] = name
        return name
