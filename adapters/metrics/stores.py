"""How long the stores take to answer, and how often they do not."""

from adapters.metrics.families import Families


class RedisWatch:
    """Is told of every answer of Redis, and of every one that did not come. ``name`` is a command's or a script's."""

    def __init__(self, families: Families) -> None:
        self._seconds = families.redis_seconds
        self._failures = families.redis_failures

    def __call__(self, name: str, seconds: float, answered: bool) -> None:
        self._seconds.observe((name,), seconds)
        if not answered:
            self._failures.add((name,))
