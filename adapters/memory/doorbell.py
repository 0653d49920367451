"""A doorbell within this process."""

from collections import defaultdict

from domain.ports import Ring


class MemoryDoorbell:
    """Calls whoever subscribed, at once."""

    def __init__(self) -> None:
        self._rings: defaultdict[str, list[Ring]] = defaultdict(list)

    def subscribe(self, topic: str, ring: Ring) -> None:
        self._rings[topic].append(ring)

    def unsubscribe(self, topic: str, ring: Ring) -> None:
        rings = self._rings.get(topic, [])
        if ring in rings:
            rings.remove(ring)
        if not rings:
            self._rings.pop(topic, None)

    def ring(self, topic: str, message: str = "") -> None:
        # A ring may subscribe or unsubscribe somebody.
        for ring in tuple(self._rings.get(topic, ())):
            ring(message)
