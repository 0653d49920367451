"""What the rate arithmetic promises to a client, whatever the limiter."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import rate
from domain.rate import Allowance, Charge, Reading, Verdict
from tests.builders import NOW, a_charge

#: A tenth of a millisecond: what binary fractions cost over a long walk, and no client can tell.
GRAIN = 1e-4

limits = st.integers(1, 1_000)
windows = st.sampled_from((1.0, 10.0, 60.0, 3600.0))
pauses = st.integers(0, 90_000).map(lambda ms: ms / 1000)


@st.composite
def walks(draw: st.DrawFn) -> tuple[Allowance, list[tuple[float, int]]]:
    """An allowance, and requests of it: when, and how many units, none larger than the allowance."""
    allowance = Allowance(draw(limits), draw(windows))
    steps = draw(st.lists(st.tuples(pauses, st.integers(0, allowance.limit)), min_size=1, max_size=40))
    times = accumulate((pause for pause, _ in steps), initial=NOW)
    return allowance, list(zip(times, (cost for _, cost in steps), strict=False))


def take(tat: float | None, charge: Charge, now: float) -> tuple[float | None, Verdict]:
    moved, verdict = rate.take([tat], [charge], now)
    return moved[0], verdict


def walk(allowance: Allowance, requests: Sequence[tuple[float, int]]) -> tuple[float | None, list[tuple[float, int]]]:
    """The meter after the requests, and those that were admitted."""
    tat: float | None = None
    admitted: list[tuple[float, int]] = []
    for now, cost in requests:
        tat, verdict = take(tat, Charge("rpm", "requests", allowance, cost), now)
        if verdict.allowed:
            admitted.append((now, cost))
    return tat, admitted


# --- how much ---------------------------------------------------------------------------------------------------------


def test_the_whole_allowance_may_be_taken_at_once_and_not_one_unit_more() -> None:
    charge = a_charge(limit=3)

    verdicts = []
    tat: float | None = None
    for _ in range(4):
        tat, verdict = take(tat, charge, NOW)
        verdicts.append(verdict.allowed)

    assert verdicts == [True, True, True, False]


@given(walks())
def test_no_stretch_of_time_sees_more_than_the_allowance_and_what_came_back_meanwhile(
    given_walk: tuple[Allowance, list[tuple[float, int]]],
) -> None:
    allowance, requests = given_walk

    _, admitted = walk(allowance, requests)

    for first in range(len(admitted)):
        taken = 0
        for now, cost in admitted[first:]:
            taken += cost
            elapsed = now - admitted[first][0]
            assert taken <= allowance.limit * (1 + elapsed / allowance.window) + GRAIN * allowance.limit


@given(limits, windows)
def test_a_meter_that_was_emptied_is_wholly_free_after_its_window_and_not_before(limit: int, window: float) -> None:
    all_of_it = Charge("rpm", "requests", Allowance(limit, window), limit)
    tat, _ = take(None, all_of_it, NOW)

    _, early = take(tat, all_of_it, NOW + window - GRAIN * window)
    _, late = take(tat, all_of_it, NOW + window)

    assert (early.allowed, late.allowed) == (False, True)


def test_no_charges_are_always_allowed() -> None:
    moved, verdict = rate.take([], [], NOW)

    assert (moved, verdict) == ([], Verdict(allowed=True))


def test_a_charge_of_nothing_is_allowed_on_a_spent_meter() -> None:
    tat, _ = take(None, a_charge(10), NOW)

    _, verdict = take(tat, a_charge(0), NOW)

    assert verdict.allowed


# --- what a refusal costs, and how long it lasts ------------------------------------------------------------------


@given(walks(), st.integers(1, 50))
def test_a_refused_request_costs_nothing_however_often_it_knocks(
    given_walk: tuple[Allowance, list[tuple[float, int]]], knocks: int
) -> None:
    allowance, requests = given_walk
    tat, _ = walk(allowance, requests)
    too_much = Charge("rpm", "requests", allowance, allowance.limit)
    now = requests[-1][0]
    before, verdict = take(tat, too_much, now)

    for _ in range(0 if verdict.allowed else knocks):
        before, verdict = take(before, too_much, now)

    assert verdict.allowed or before == tat


@given(walks(), st.integers(1, 1_000))
def test_retry_after_is_exact(given_walk: tuple[Allowance, list[tuple[float, int]]], cost: int) -> None:
    allowance, requests = given_walk
    tat, _ = walk(allowance, requests)
    charge = Charge("rpm", "requests", allowance, min(cost, allowance.limit))
    now = requests[-1][0]
    _, refusal = take(tat, charge, now)

    _, at_the_time = take(tat, charge, now + refusal.retry_after)
    _, before_it = take(tat, charge, now + refusal.retry_after - GRAIN)

    assert at_the_time.allowed
    assert not before_it.allowed or refusal.retry_after < 2 * GRAIN


def test_an_admitted_request_has_nothing_to_wait_for() -> None:
    _, verdict = take(None, a_charge(), NOW)

    assert (verdict.allowed, verdict.retry_after, verdict.refused_by) == (True, 0.0, None)


def test_a_charge_larger_than_the_allowance_is_admitted_when_the_meter_is_wholly_free() -> None:
    tat, _ = take(None, a_charge(1), NOW)

    _, refusal = take(tat, a_charge(25), NOW)
    moved, admission = take(tat, a_charge(25), NOW + refusal.retry_after)

    assert not refusal.allowed
    assert refusal.retry_after == pytest.approx(6.0)
    assert admission.allowed
    assert moved == pytest.approx(NOW + 6.0 + 25 * 6.0)


def test_a_charge_larger_than_the_allowance_is_paid_for_to_the_end() -> None:
    tat, _ = take(None, a_charge(25), NOW)

    _, next_one = take(tat, a_charge(1), NOW)

    assert next_one.retry_after == pytest.approx(25 * 6.0 + 6.0 - 60.0)


# --- several meters ---------------------------------------------------------------------------------------------------


def test_all_meters_are_charged_or_none() -> None:
    requests, tokens = a_charge(1, limit=10), a_charge(600, limit=1_000, meter="tpm")
    first, _ = rate.take([None, None], [requests, tokens], NOW)

    second, verdict = rate.take(first, [requests, tokens], NOW)

    assert not verdict.allowed
    assert second == first


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_meter_that_takes_longest_is_the_one_that_refused(order: tuple[int, int]) -> None:
    # Both are spent: the next request comes back after 6 s, the next 600 tokens after 36 s.
    charges = [a_charge(1, limit=10), a_charge(600, limit=1_000, meter="tpm")]
    tats = [NOW + 60.0, NOW + 60.0]

    _, verdict = rate.take([tats[at] for at in order], [charges[at] for at in order], NOW)

    assert verdict.refused_by == "tokens"
    assert verdict.retry_after == pytest.approx(36.0)
    assert [reading.what for reading in verdict.readings] == [charges[at].what for at in order]


# --- readings ---------------------------------------------------------------------------------------------------------


def test_a_reading_tells_what_is_left_after_the_decision() -> None:
    _, verdict = take(None, a_charge(3, limit=10, window=60.0), NOW)

    assert verdict.readings == (Reading("requests", limit=10, remaining=7, reset=18.0),)


def test_a_refusal_shows_the_meter_as_it_is() -> None:
    tat, _ = take(None, a_charge(8), NOW)

    _, verdict = take(tat, a_charge(5), NOW)

    assert verdict.readings == (Reading("requests", limit=10, remaining=2, reset=48.0),)


def test_a_refusal_shows_a_meter_that_nobody_has_used_as_wholly_free() -> None:
    tokens = a_charge(600, limit=1_000, meter="tpm")

    _, verdict = rate.take([NOW + 60.0, None], [a_charge(1), tokens], NOW)

    assert verdict.readings[1] == Reading("tokens", limit=1_000, remaining=1_000, reset=0.0)


@given(walks())
def test_as_much_as_a_reading_shows_can_be_taken_and_not_one_unit_more(
    given_walk: tuple[Allowance, list[tuple[float, int]]],
) -> None:
    allowance, requests = given_walk
    tat, _ = walk(allowance, requests)
    now = requests[-1][0]
    remaining = rate.read(tat, Charge("rpm", "requests", allowance, 0), now).remaining

    _, shown = take(tat, Charge("rpm", "requests", allowance, remaining), now)
    _, one_more = take(tat, Charge("rpm", "requests", allowance, remaining + 1), now)

    assert shown.allowed
    assert not one_more.allowed or remaining == allowance.limit


@given(walks())
def test_a_meter_is_wholly_free_again_when_its_reading_says(
    given_walk: tuple[Allowance, list[tuple[float, int]]],
) -> None:
    allowance, requests = given_walk
    tat, _ = walk(allowance, requests)
    now = requests[-1][0]
    nothing = Charge("rpm", "requests", allowance, 0)

    reset = rate.read(tat, nothing, now).reset

    later = rate.read(tat, nothing, now + reset)
    assert later.remaining == allowance.limit
    assert later.reset == pytest.approx(0.0, abs=GRAIN)


@pytest.mark.parametrize("limit", [1, 3, 10, 60, 100, 600])
def test_units_taken_one_by_one_leave_no_crumbs(limit: int) -> None:
    one = a_charge(1, limit=limit)
    tat: float | None = None

    remaining = []
    for _ in range(limit):
        tat, verdict = take(tat, one, NOW)
        remaining.append(verdict.readings[0].remaining)

    assert remaining == list(range(limit - 1, -1, -1))


# --- corrections ------------------------------------------------------------------------------------------------------


def test_an_estimate_that_was_too_high_comes_back() -> None:
    tat, _ = take(None, a_charge(8), NOW)

    corrected = rate.arrival(tat, a_charge(-6), NOW)

    assert rate.read(corrected, a_charge(0), NOW).remaining == 8


def test_giving_back_more_than_was_taken_leaves_a_meter_wholly_free_and_no_freer() -> None:
    corrected = rate.arrival(NOW + 6.0, a_charge(-1_000), NOW)

    spent, all_of_it = take(corrected, a_charge(10), NOW)
    _, one_more = take(spent, a_charge(1), NOW)

    assert rate.read(corrected, a_charge(0), NOW) == Reading("requests", limit=10, remaining=10, reset=0.0)
    assert (all_of_it.allowed, one_more.allowed) == (True, False)


def test_an_estimate_that_was_too_low_delays_the_next_request() -> None:
    tat, _ = take(None, a_charge(10), NOW)

    corrected = rate.arrival(tat, a_charge(5), NOW)

    _, verdict = take(corrected, a_charge(1), NOW)
    assert rate.read(corrected, a_charge(0), NOW).remaining == 0
    assert verdict.retry_after == pytest.approx(36.0)
