"""The targets as an operator sees them, and what an operator can do about one."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain import circuits
from domain.circuits import State
from domain.completions.conditions import Condition
from domain.completions.health import Health
from domain.errors import UnknownTarget


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target, as one replica knows it. Durations are in seconds, averaged over the latest requests; None before
    the first.

    ``state`` is that of the circuit, or ``drained``, ``quarantined`` or ``cooling``; ``rests`` how long it is let alone
    from now on. ``error_rate`` is from 0 to 1, of the last half minute or whole one.
    """

    id: str
    provider: str
    model: str
    key_id: str
    state: str
    rests: float
    error_rate: float
    seconds: float | None
    first_token_seconds: float | None
    running: int
    waiting: int
    asked: int


@dataclass(frozen=True, slots=True)
class Targets:
    """What a replica knows of the targets that it has asked; what is done about one, all replicas learn."""

    health: Health

    def all(self) -> Sequence[TargetView]:
        """Every target that is known, the one asked longest ago first."""
        return tuple(self._view(condition) for condition in self.health.conditions)

    def get(self, target_id: str) -> TargetView:
        """One target.

        Raises:
            UnknownTarget: this replica has not asked it.
        """
        return self._view(self._known(target_id))

    def drain(self, target_id: str) -> None:
        """Let a target be asked only where there is no other, until ``undrain``. What is under way goes on.

        Raises:
            UnknownTarget: this replica has not asked it.
        """
        self.health.drain(self._known(target_id), drained=True)

    def undrain(self, target_id: str) -> None:
        """Undo ``drain``.

        Raises:
            UnknownTarget: this replica has not asked it.
        """
        self.health.drain(self._known(target_id), drained=False)

    def probe(self, target_id: str) -> None:
        """Let the next request find out whether a target is well, however long it was to be let alone.

        Raises:
            UnknownTarget: this replica has not asked it.
        """
        self.health.hurry(self._known(target_id))

    def _known(self, target_id: str) -> Condition:
        condition = self.health.conditions.get(target_id)
        if condition is None:
            raise UnknownTarget
        return condition

    def _view(self, condition: Condition) -> TargetView:
        now, circuit = self.health.now(), condition.circuit
        return TargetView(
            condition.target_id,
            condition.provider,
            condition.model,
            condition.key_id,
            self._state(condition),
            max(self.health.rest_of(condition), 0.0),
            circuits.error_rate(circuit, self.health.rules, now),
            condition.seconds,
            condition.first_token_seconds,
            condition.bulkhead.running,
            condition.bulkhead.waiting,
            condition.asked,
        )

    def _state(self, condition: Condition) -> str:
        if condition.drained:
            return "drained"
        if condition.circuit.state is not State.CLOSED:
            return str(condition.circuit.state.value)
        if self.health.is_quarantined(condition):
            return "quarantined"
        return "cooling" if self.health.rest_of(condition) > 0 else "closed"
