"""A circuit for each target: when it opens, who tries whether it may close. Pure; times are seconds of one clock.

A circuit opens on too many failures in a row or on too high a share of them, and then lets nobody through until its
pause is over. Then one request at a time probes. What a client's leaving ends is neither a success nor a failure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum


class State(Enum):
    CLOSED = "closed"
    """Requests go through."""
    OPEN = "open"
    """None goes through until the pause is over."""
    PROBING = "probing"
    """One goes through, and the others wait for what becomes of it."""


class Event(Enum):
    """What can happen to a circuit."""

    SUCCESS = "success"
    FAILURE = "failure"
    TRIPPED = "tripped"
    """A failure that is one too many."""
    PROBE = "probe"
    """A request goes through to see whether the target is well."""
    LAPSE = "lapse"
    """Nothing became of the probe: its client left, or the target had nothing to say of itself."""


#: The state behind each event. What came of a request that began before a circuit opened changes nothing in it.
NEXT: Mapping[tuple[State, Event], State] = {
    (State.CLOSED, Event.SUCCESS): State.CLOSED,
    (State.CLOSED, Event.FAILURE): State.CLOSED,
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.PROBE): State.PROBING,
    (State.PROBING, Event.PROBE): State.PROBING,
    (State.PROBING, Event.SUCCESS): State.CLOSED,
    (State.PROBING, Event.FAILURE): State.OPEN,
    (State.PROBING, Event.LAPSE): State.OPEN,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """When circuits open, and for how many seconds: ``pause`` the first time, twice as long each further time.

    ``in_a_row`` failures open one, or a ``share`` of the requests of the last ``window`` seconds that is failures,
    where there were ``least``. A probe has ``probe`` seconds; then another may be made.
    """

    in_a_row: int = 5
    share: float = 0.5
    least: int = 20
    window: float = 30.0
    pause: float = 5.0
    longest_pause: float = 20.0
    probe: float = 30.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests and failures since ``since``, and those of the window before it."""

    since: float = 0.0
    requests: int = 0
    failures: int = 0
    requests_before: int = 0
    failures_before: int = 0


@dataclass(frozen=True, slots=True)
class Circuit:
    """One target's circuit. ``until`` is when its pause or its probe is over, ``openings`` how often it opened since it
    was last well."""

    state: State = State.CLOSED
    in_a_row: int = 0
    tally: Tally = Tally()
    until: float = 0.0
    openings: int = 0


def may_pass(circuit: Circuit, now: float) -> bool:
    """Whether a request may go through; where the circuit is not closed, it is a probe."""
    return circuit.state is State.CLOSED or now >= circuit.until


def probed(circuit: Circuit, rules: Rules, now: float) -> Circuit:
    """The circuit while a request probes it."""
    return replace(circuit, state=NEXT[circuit.state, Event.PROBE], until=now + rules.probe)


def succeeded(circuit: Circuit, rules: Rules, now: float, *, probe: bool) -> Circuit:
    """The circuit behind an answer; ``probe`` says that the request was one."""
    if circuit.state is State.CLOSED:
        return Circuit(State.CLOSED, 0, _counted(circuit.tally, rules, now, failures=0))
    # An answer that was asked for before the circuit opened says nothing of now.
    after = NEXT.get((circuit.state, Event.SUCCESS)) if probe else None
    return circuit if after is None else Circuit(after)


def failed(circuit: Circuit, rules: Rules, now: float, *, probe: bool, jitter: float = 0.0) -> Circuit:
    """The circuit behind a failure. ``jitter``, from 0 to 1, shortens a pause by up to a fifth: replicas that fail
    together need not come back together."""
    if circuit.state is State.CLOSED:
        in_a_row, tally = circuit.in_a_row + 1, _counted(circuit.tally, rules, now, failures=1)
        event = Event.TRIPPED if _is_one_too_many(in_a_row, tally, rules) else Event.FAILURE
        circuit = replace(circuit, in_a_row=in_a_row, tally=tally)
    elif probe and circuit.state is State.PROBING:
        event = Event.FAILURE
    else:
        # It was asked before the circuit opened.
        return circuit
    return opened(circuit, rules, now, jitter=jitter) if NEXT[circuit.state, event] is State.OPEN else circuit


def lapsed(circuit: Circuit, now: float) -> Circuit:
    """The circuit behind a probe that told nothing: the next request may be one."""
    after = NEXT.get((circuit.state, Event.LAPSE))
    return circuit if after is None else replace(circuit, state=after, until=now)


def opened(circuit: Circuit, rules: Rules, now: float, *, jitter: float = 0.0) -> Circuit:
    """The circuit from when it opens, or opens again."""
    pause = min(rules.pause * 2 ** min(circuit.openings, 16), rules.longest_pause) * (1 - jitter / 5)
    return Circuit(State.OPEN, until=now + pause, openings=circuit.openings + 1)


def error_rate(circuit: Circuit, rules: Rules, now: float) -> float:
    """The share of failures among the requests of the last window or two; 0 where there were none."""
    tally = _rolled(circuit.tally, rules, now)
    requests = tally.requests + tally.requests_before
    return (tally.failures + tally.failures_before) / requests if requests else 0.0


def _is_one_too_many(in_a_row: int, tally: Tally, rules: Rules) -> bool:
    requests, failures = tally.requests + tally.requests_before, tally.failures + tally.failures_before
    return in_a_row >= rules.in_a_row or (requests >= rules.least and failures >= rules.share * requests)


def _counted(tally: Tally, rules: Rules, now: float, *, failures: int) -> Tally:
    # Every request comes by here, and dataclasses.replace takes three times as long.
    it = _rolled(tally, rules, now)
    return Tally(it.since, it.requests + 1, it.failures + failures, it.requests_before, it.failures_before)


def _rolled(tally: Tally, rules: Rules, now: float) -> Tally:
    """The tally with what is older than two windows forgotten."""
    age = now - tally.since
    if age < rules.window:
        return tally
    if age < 2 * rules.window:
        return Tally(tally.since + rules.window, 0, 0, tally.requests, tally.failures)
    return Tally(now)
