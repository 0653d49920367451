"""How the targets are, as this replica knows it: who is asked, who is let alone, and for how long.

Nothing here waits for another replica: what they tell each other arrives in the background (``sharing``).
"""

from collections.abc import Sequence
from dataclasses import replace

from domain import circuits
from domain.circuits import Circuit, Rules, State
from domain.completions.bulkheads import Berths
from domain.completions.conditions import Condition, Conditions
from domain.errors import ProviderError, ProviderOutOfQuota, ProviderRateLimited
from domain.facts import TargetChanged
from domain.ports import Clock, Journal
from domain.providers import Target
from domain.remedies import Blame, blame
from domain.routing import Draw

#: Seconds that a key is let alone: one whose pace is too fast and that has not said for how long, one whose account is
#: spent, one that was refused.
_COOLING = 5.0
_SPENT = 60.0
_QUARANTINE = 300.0
_RULES = Rules()
_BERTHS = Berths()
#: How much of an average is the latest value.
_LATEST = 0.2


class Visit:
    """One request at a target: tell what becomes of it, and ``leave`` in any case."""

    __slots__ = ("_condition", "_health", "_probe", "_told", "began")

    def __init__(self, health: "Health", condition: Condition, began: float, *, probe: bool) -> None:
        self._health = health
        self._condition = condition
        self._probe = probe
        self._told = False
        self.began = began

    def answered(self, *, first_token: bool) -> float:
        """It says something; seconds since it was asked."""
        self._told = True
        return self._health.note_answer(self._condition, self.began, probe=self._probe, first_token=first_token)

    def failed(self, error: ProviderError) -> None:
        """It failed, before or after it said something."""
        self._told = True
        self._health.note_failure(self._condition, error, probe=self._probe)

    def seconds(self) -> float:
        """How long ago it was asked."""
        return self._health.since(self.began)

    def leave(self) -> None:
        """The request is over. Where nothing was told of it, it counts for nothing."""
        self._condition.bulkhead.leave()
        if self._probe and not self._told:
            self._health.note_nothing(self._condition)


class Health:
    """Conditions of targets, with ``berths`` at each."""

    def __init__(
        self,
        monotonic: Clock,
        journal: Journal,
        draw: Draw,
        *,
        rules: Rules = _RULES,
        berths: Berths = _BERTHS,
    ) -> None:
        self.now = monotonic
        self._journal = journal
        self._draw = draw
        self.rules = rules
        self.conditions = Conditions(berths)

    # --- asking ---------------------------------------------------------------------------------------------------

    def choose(self, targets: Sequence[Target]) -> Target | None:
        """The first of the targets that may be asked now and has room; None where there is none."""
        now = self.now()
        for target in targets:
            condition = self.conditions.of(target)
            condition.wanted_at = now
            if not condition.bulkhead.is_full and self._rest(condition, now) <= 0:
                return target
        return None

    def last_resort(self, targets: Sequence[Target]) -> Target:
        """Where none may be asked: the one that will be soonest. The last target is never ejected.

        One that an operator drained comes after all others.
        """
        now = self.now()
        conditions = [(self.conditions.of(target), target) for target in targets]
        return min(conditions, key=lambda it: (it[0].drained, self._rest(it[0], now)))[1]

    async def room(self, target: Target) -> None:
        """Wait until there is room at a target.

        Raises:
            ProviderBusy: there is none in time.
        """
        await self.conditions.of(target).bulkhead.room()

    def visit(self, target: Target) -> Visit:
        """Begin a request at a target. Where its circuit is not closed, the request is a probe."""
        condition, now = self.conditions.of(target), self.now()
        condition.bulkhead.enter()
        condition.asked += 1
        probe = condition.circuit.state is not State.CLOSED
        if probe:
            self._turn(condition, circuits.probed(condition.circuit, self.rules, now))
        return Visit(self, condition, now, probe=probe)

    def since(self, began: float) -> float:
        return self.now() - began

    # --- what visits tell -----------------------------------------------------------------------------------------

    def note_answer(self, condition: Condition, began: float, *, probe: bool, first_token: bool) -> float:
        now = self.now()
        seconds = now - began
        if first_token:
            condition.first_token_seconds = _averaged(condition.first_token_seconds, seconds)
        else:
            condition.seconds = _averaged(condition.seconds, seconds)
        self._turn(condition, circuits.succeeded(condition.circuit, self.rules, now, probe=probe))
        return seconds

    def note_failure(self, condition: Condition, error: ProviderError, *, probe: bool) -> None:
        now = self.now()
        match blame(error):
            case Blame.TARGET:
                jitter = self._draw()
                turned = circuits.failed(condition.circuit, self.rules, now, probe=probe, jitter=jitter)
                self._turn(condition, turned)
                return
            case Blame.UNKNOWN:
                if probe:
                    self.note_nothing(condition)
                return
            case Blame.PACE:
                self.rest(condition, _cooling(error), "cooling")
            case Blame.KEY:
                self.conditions.quarantined[condition.key_id] = now + _QUARANTINE
                self._tell(condition, "quarantined", _QUARANTINE)
        if probe:
            # It answers, if only to refuse.
            self._turn(condition, circuits.succeeded(condition.circuit, self.rules, now, probe=True))

    def note_nothing(self, condition: Condition) -> None:
        self._turn(condition, circuits.lapsed(condition.circuit, self.now()))

    def rest(self, condition: Condition, seconds: float, state: str) -> None:
        """Let a target alone for so many seconds."""
        condition.rests_until = max(condition.rests_until, self.now() + seconds)
        self._tell(condition, state, seconds)

    # --- what others tell -----------------------------------------------------------------------------------------

    def rest_of(self, condition: Condition) -> float:
        """How long a target is let alone from now on; not above 0 where it may be asked."""
        return self._rest(condition, self.now())

    def is_quarantined(self, condition: Condition) -> bool:
        return self.conditions.quarantined.get(condition.key_id, 0.0) > self.now()

    def open(self, condition: Condition, until: float) -> None:
        """Let a circuit be open until then, as another replica found it to be; one that probes finds out by itself."""
        circuit = condition.circuit
        if circuit.state is not State.PROBING and circuit.until < until:
            self._turn(condition, replace(circuit, state=State.OPEN, until=until, openings=max(circuit.openings, 1)))

    def close(self, condition: Condition) -> None:
        """Let a circuit be closed, as another replica found its target well."""
        self._turn(condition, Circuit())

    def hurry(self, condition: Condition) -> None:
        """Let the next request find out whether a target is well: if it fails, the circuit is open again."""
        condition.rests_until = 0.0
        self.conditions.quarantined.pop(condition.key_id, None)
        if condition.circuit.state is not State.CLOSED:
            self._turn(condition, Circuit(in_a_row=self.rules.in_a_row - 1))

    def drain(self, condition: Condition, *, drained: bool) -> None:
        """Let a target be asked only where there is no other; or as any other again."""
        if condition.drained != drained:
            condition.drained = drained
            self._tell(condition, "drained" if drained else condition.circuit.state.value, 0.0)

    def _rest(self, condition: Condition, now: float) -> float:
        """How long the target is to be let alone from ``now`` on; not above 0 where it may be asked."""
        if condition.drained:
            return float("inf")
        rest = max(condition.rests_until, self.conditions.quarantined.get(condition.key_id, 0.0)) - now
        circuit = condition.circuit
        if circuit.state is State.CLOSED:
            return rest
        if condition.may_probe is False and circuits.may_pass(circuit, now):
            # Another replica probes, or none has been chosen for it yet.
            return max(rest, 1.0)
        return max(rest, circuit.until - now)

    def _turn(self, condition: Condition, circuit: Circuit) -> None:
        before, condition.circuit = condition.circuit.state, circuit
        if before is not circuit.state:
            self._tell(condition, circuit.state.value, max(circuit.until - self.now(), 0.0))

    def _tell(self, condition: Condition, state: str, seconds: float) -> None:
        self._journal.record(
            TargetChanged(condition.provider, condition.model, condition.key_id, state, round(seconds, 3))
        )


def _cooling(error: ProviderError) -> float:
    if isinstance(error, ProviderRateLimited) and error.retry_after is not None:
        return error.retry_after
    return _SPENT if isinstance(error, ProviderOutOfQuota) else _COOLING


def _averaged(before: float | None, value: float) -> float:
    return value if before is None else before + _LATEST * (value - before)
