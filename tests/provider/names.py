"""What a model's name asks for: ``status-503-ra5`` is the behaviour ``status`` of value ``503`` with ``ra=5``."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

#: ``ra`` takes digits first or one of three words, so that ``finish-rate_limit`` stays a reason.
SETTING = re.compile(r"(n|i|rams)(\d+)|(ra)(\d\w*|abc|date|neg)")


@dataclass(frozen=True, slots=True)
class Name:
    """A model's name taken apart; ``value`` is what stands between the behaviour and the settings."""

    behaviour: str
    value: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def number(self, key: str, default: int) -> int:
        return int(self.settings.get(key, default))

    @property
    def pause(self) -> float:
        """Seconds between two events."""
        return self.number("i", 0) / 1000


def parse(model: str, known: Collection[str]) -> Name | None:
    """Take ``model`` apart; the longest behaviour in ``known`` wins, so ``usage-bad-text`` is not ``usage``."""
    candidates = [name for name in known if model == name or model.startswith(f"{name}-")]
    if not candidates:
        return None
    behaviour = max(candidates, key=len)
    parts = model[len(behaviour) + 1 :].split("-")
    settings: dict[str, str] = {}
    while match := SETTING.fullmatch(parts[-1]) if parts else None:
        settings[match[1] or match[3]] = match[2] or match[4]
        parts.pop()
    return Name(behaviour, "-".join(parts), settings)
