"""The catalogue: what is known of the models, and under which name each provider serves them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from domain.images import ImageRule

#: The most that one token can cost; with it, the widest context window still has a cost that fits a balance.
MAX_WEIGHT = 1_000_000
#: What the tokens of a model are counted with that nobody knows better; OpenAI's for its current models.
DEFAULT_VOCABULARY = "o200k_base"


@dataclass(frozen=True, slots=True)
class Model:
    """Facts of a model; sizes in tokens. ``names`` maps a provider's id to the model's name there.

    ``aliases`` are patterns of further names; a name that matches one is sent to the provider as it is. ``weight`` is
    what one token of the model costs, in tokens of the balance.
    """

    name: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    tokenizer: str = DEFAULT_VOCABULARY
    aliases: tuple[str, ...] = ()
    owned_by: str = "unknown"
    images: ImageRule | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0

    def name_at(self, provider_id: str, asked: str) -> str | None:
        """The name to send to this provider for a model asked for as ``asked``; None where it is another model."""
        own = self.names.get(provider_id)
        if own is None:
            return None
        if asked in (self.name, own):
            return own
        return asked if any(fnmatchcase(asked, alias) for alias in self.aliases) else None


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as one provider serves it: ``sent`` is the name it is asked for there."""

    model: Model
    sent: str


class Catalogue:
    """The models of all shipped providers."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = tuple(models)
        self._exact: dict[tuple[str, str], Offer] = {}
        for model in self._models:
            for provider_id, own in model.names.items():
                self._exact.setdefault((provider_id, model.name), Offer(model, own))
                self._exact.setdefault((provider_id, own), Offer(model, own))

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def find(self, provider_id: str, asked: str) -> Offer | None:
        """The model that ``asked`` names at this provider: an exact name wins over a pattern."""
        exact = self._exact.get((provider_id, asked))
        return exact if exact is not None else next(self._matching(provider_id, asked), None)

    def served_by(self, provider_id: str) -> Iterator[Model]:
        """The models that a provider serves, in the catalogue's order."""
        return (model for model in self._models if provider_id in model.names)

    def _matching(self, provider_id: str, asked: str) -> Iterator[Offer]:
        for model in self._models:
            sent = model.name_at(provider_id, asked)
            if sent is not None:
                yield Offer(model, sent)
