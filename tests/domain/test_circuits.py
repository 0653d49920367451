"""A circuit opens when it must, lets one at a time probe, and closes when the target is well."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import circuits
from domain.circuits import NEXT, Circuit, Event, Rules, State

RULES = Rules(in_a_row=3, share=0.5, least=10, window=10.0, pause=4.0, longest_pause=10.0, probe=5.0)
NOW = 1_000.0


def failing(count: int, circuit: Circuit | None = None, now: float = NOW) -> Circuit:
    circuit = circuit or Circuit()
    for _ in range(count):
        circuit = circuits.failed(circuit, RULES, now, probe=False)
    return circuit


def test_it_opens_on_too_many_failures_in_a_row_and_not_on_one_less() -> None:
    assert failing(2).state is State.CLOSED
    assert failing(3).state is State.OPEN


def test_a_success_begins_the_row_again() -> None:
    circuit = circuits.succeeded(failing(2), RULES, NOW, probe=False)

    assert failing(2, circuit).state is State.CLOSED


def test_it_opens_on_a_share_of_failures_where_there_were_enough() -> None:
    circuit = Circuit()
    states = []
    for _ in range(6):
        circuit = circuits.succeeded(circuit, RULES, NOW, probe=False)
        circuit = circuits.failed(circuit, RULES, NOW, probe=False)
        states.append(circuit.state)

    # Ten requests, half of them failures.
    assert states[:4] == [State.CLOSED] * 4
    assert states[4] is State.OPEN


def test_what_is_older_than_two_windows_is_forgotten() -> None:
    circuit = Circuit()
    for second in range(100):
        circuit = circuits.succeeded(circuit, RULES, NOW + second, probe=False)
    late = circuits.failed(circuit, RULES, NOW + 99, probe=False)

    assert 0 < circuits.error_rate(late, RULES, NOW + 99) < 0.1
    assert circuits.error_rate(late, RULES, NOW + 130) == 0.0


def test_nobody_passes_an_open_circuit_until_its_pause_is_over() -> None:
    circuit = failing(3)

    assert not circuits.may_pass(circuit, NOW + 3.9)
    assert circuits.may_pass(circuit, NOW + 4.0)


def test_while_one_probes_nobody_else_does_until_it_has_had_its_time() -> None:
    probing = circuits.probed(failing(3), RULES, NOW + 4)

    assert not circuits.may_pass(probing, NOW + 8.9)
    assert circuits.may_pass(probing, NOW + 9.0)


def test_a_probe_that_is_answered_closes_it() -> None:
    probing = circuits.probed(failing(3), RULES, NOW + 4)

    assert circuits.succeeded(probing, RULES, NOW + 5, probe=True) == Circuit()


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    circuit, now, pauses = failing(3), NOW, [4.0]
    for _ in range(3):
        now = circuit.until
        circuit = circuits.failed(circuits.probed(circuit, RULES, now), RULES, now, probe=True)
        pauses.append(circuit.until - now)

    assert pauses == [4.0, 8.0, 10.0, 10.0]


def test_a_probe_whose_client_left_lets_the_next_one_probe_at_once() -> None:
    circuit = circuits.lapsed(circuits.probed(failing(3), RULES, NOW + 4), NOW + 5)

    assert circuit.state is State.OPEN
    assert circuits.may_pass(circuit, NOW + 5)


@pytest.mark.parametrize("state", [State.OPEN, State.PROBING])
def test_what_was_asked_before_it_opened_changes_nothing_in_it(state: State) -> None:
    circuit = Circuit(state, until=NOW + 5, openings=1)

    assert circuits.succeeded(circuit, RULES, NOW, probe=False) == circuit
    assert circuits.failed(circuit, RULES, NOW, probe=False) == circuit


def test_jitter_shortens_a_pause_by_a_fifth_at_most() -> None:
    assert circuits.opened(Circuit(), RULES, NOW, jitter=1.0).until == NOW + 4.0 * 0.8


def test_the_table_leaves_no_state_without_a_way_back() -> None:
    reached = {State.CLOSED}
    for _ in State:
        reached |= {after for (before, _), after in NEXT.items() if before in reached}

    assert reached == set(State)
    assert all(any(before is state and after is not state for (before, _), after in NEXT.items()) for state in State)


STEPS = st.lists(st.tuples(st.sampled_from(["success", "failure", "leave", "wait"]), st.floats(0, 12)), max_size=60)


@given(STEPS)
def test_any_history_keeps_to_the_table_and_every_open_circuit_can_be_probed_again(
    steps: list[tuple[str, float]],
) -> None:
    circuit, now = Circuit(), NOW
    for what, seconds in steps:
        now += seconds
        before = circuit
        probe = circuit.state is not State.CLOSED
        if what == "wait" or not circuits.may_pass(circuit, now):
            continue
        if probe:
            circuit = circuits.probed(circuit, RULES, now)
            assert not circuits.may_pass(circuit, now)
        match what:
            case "success":
                circuit = circuits.succeeded(circuit, RULES, now, probe=probe)
            case "failure":
                circuit = circuits.failed(circuit, RULES, now, probe=probe)
            case _:
                circuit = circuits.lapsed(circuit, now)
        assert circuit.state in _reachable(before.state)
        assert circuit.until <= now + RULES.longest_pause
        assert circuits.may_pass(circuit, now + RULES.longest_pause)


@given(STEPS)
def test_clients_that_leave_never_open_it(steps: list[tuple[str, float]]) -> None:
    with_leavers, without, now = Circuit(), Circuit(), NOW
    for what, seconds in steps:
        now += seconds
        if what == "leave":
            with_leavers = circuits.lapsed(with_leavers, now)
        elif what == "failure":
            with_leavers = circuits.failed(with_leavers, RULES, now, probe=False)
            without = circuits.failed(without, RULES, now, probe=False)

    assert with_leavers == without


def _reachable(state: State) -> set[State]:
    """The states behind a request that may go through."""
    first = {NEXT.get((state, Event.PROBE), state)}
    return {after for (before, _), after in NEXT.items() if before in first}


def test_every_pair_that_is_not_in_the_table_is_one_that_changes_nothing() -> None:
    missing = set(itertools.product(State, Event)) - NEXT.keys()

    assert missing == {
        (State.CLOSED, Event.PROBE),
        (State.CLOSED, Event.LAPSE),
        (State.OPEN, Event.SUCCESS),
        (State.OPEN, Event.FAILURE),
        (State.OPEN, Event.TRIPPED),
        (State.OPEN, Event.LAPSE),
        (State.PROBING, Event.TRIPPED),
    }
