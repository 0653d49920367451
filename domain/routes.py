"""What a tenant says of who answers in the place of whom: shares, fallbacks, and models for long prompts."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Place:
    """A provider, and a model there by any of its names; None is the model that was asked for. ``weight`` is its part
    of a share."""

    provider: str
    model: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RouteRule:
    """For which requests it stands, and where they go.

    ``model`` is a pattern of the name that was asked for. ``provider`` is the one that the request goes to otherwise;
    None is any, but only for requests whose caller names no provider: who names one means it.

    ``share`` takes the place of the provider that was asked: one of them answers, by weight, and the others stand in
    for it. ``fallbacks`` follow in their order. ``larger`` are for prompts that do not fit. ``reroute_filtered`` sends
    what a content filter refused to the next one.
    """

    model: str = "*"
    provider: str | None = None
    share: tuple[Place, ...] = ()
    fallbacks: tuple[Place, ...] = ()
    larger: tuple[Place, ...] = ()
    reroute_filtered: bool = False

    def covers(self, provider: str, model: str, *, named: bool) -> bool:
        """Whether it stands for requests of this model at this provider, which their caller ``named`` or not."""
        if self.provider is None:
            return not named and fnmatchcase(model, self.model)
        return self.provider == provider and fnmatchcase(model, self.model)
