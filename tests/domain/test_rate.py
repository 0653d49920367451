"""What the rate arithmetic promises to a client, whatever the limiter."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import rate
from domain.rate import Allowance, Charge, Holders, Meter, Reading, Slice, Slot, State, Verdict, micros, tightest
from tests.builders import NOW, a_charge

#: A request: when it comes, and how many units it asks for.
Asked = tuple[float, int]

MICROSECOND = 1e-6
#: 2025-06-16T00:00:00Z, in Unix seconds: the end of the day of NOW.
MIDNIGHT = 1_750_032_000.0

limits = st.integers(1, 1_000)
windows = st.sampled_from((0.05, 1.0, 10.0, 60.0, 3600.0))


@st.composite
def walks(draw: st.DrawFn, most: int = 1) -> tuple[Allowance, list[Asked]]:
    """An allowance, and requests of it, none larger than ``most`` times the allowance."""
    allowance = Allowance(draw(limits), draw(windows))
    # In microseconds, as a server tells the time.
    window = micros(allowance.window)
    pauses, short = st.integers(0, window * 3 // 2), st.integers(0, window // 40)
    steps = draw(
        st.lists(st.tuples(st.one_of(short, pauses), st.integers(0, most * allowance.limit)), min_size=1, max_size=40)
    )
    times = accumulate((pause for pause, _ in steps), initial=micros(NOW))
    return allowance, list(zip((time / 1e6 for time in times), (cost for _, cost in steps), strict=False))


def take(meter: Meter, charge: Charge, now: float) -> tuple[Meter, Verdict]:
    changed, verdict = rate.take(State({charge.meter: meter}), [charge], (), micros(now))
    return changed.meters.get(charge.meter, meter), verdict


def spent(*takings: Asked, charge: Charge | None = None) -> Meter:
    """A meter from which so much was taken at these times."""
    meter: Meter = ()
    for now, cost in takings:
        meter = rate.add(meter, replace(charge or a_charge(), cost=cost), micros(now))
    return meter


def read(meter: Meter, now: float, *, limit: int = 10) -> Reading:
    return take(meter, a_charge(0, limit=limit), now)[1].readings[0]


def walk(allowance: Allowance, requests: Sequence[Asked]) -> tuple[Meter, list[Asked]]:
    """The meter after the requests, and those that were admitted."""
    meter: Meter = ()
    admitted: list[Asked] = []
    for now, cost in requests:
        meter, verdict = take(meter, Charge("rpm", "requests", allowance, cost), now)
        if verdict.allowed:
            admitted.append((now, cost))
    return meter, admitted


# --- how much ---------------------------------------------------------------------------------------------------------


def test_the_whole_allowance_may_be_taken_at_once_and_not_one_unit_more() -> None:
    meter: Meter = ()
    verdicts = []
    for _ in range(4):
        meter, verdict = take(meter, a_charge(limit=3), NOW)
        verdicts.append(verdict.allowed)

    assert verdicts == [True, True, True, False]


@given(walks())
def test_no_stretch_of_the_windows_length_sees_more_than_the_limit(given_walk: tuple[Allowance, list[Asked]]) -> None:
    allowance, requests = given_walk

    _, admitted = walk(allowance, requests)

    for begin, _ in admitted:
        end = micros(begin) + micros(allowance.window)
        assert sum(cost for now, cost in admitted if micros(begin) <= micros(now) < end) <= allowance.limit


@given(walks(most=2))
def test_it_is_what_a_log_of_every_request_says_where_those_of_a_slice_leave_together(
    given_walk: tuple[Allowance, list[Asked]],
) -> None:
    allowance, requests = given_walk
    window = micros(allowance.window)
    log: list[tuple[int, int]] = []
    answers, expected = [], []
    meter: Meter = ()

    for now, cost in requests:
        at = micros(now)
        # All of a slice counts as of its last request.
        slices = [[*group] for _, group in groupby(log, lambda entry: entry[0] // max(1, window // 60))]
        inside = sum(sum(units for _, units in one) for one in slices if at - one[-1][0] < window)
        fits = not cost or not inside or inside + cost <= allowance.limit
        if fits and cost:
            log.append((at, cost))
        meter, verdict = take(meter, Charge("rpm", "requests", allowance, cost), now)
        answers.append((verdict.allowed, verdict.readings[0].remaining))
        expected.append((fits, max(0, allowance.limit - inside - cost * fits)))

    assert answers == expected


@given(walks())
def test_a_meter_has_a_slice_for_each_second_of_a_minute_and_no_more(given_walk: tuple[Allowance, list[Asked]]) -> None:
    allowance, requests = given_walk

    meter, _ = walk(allowance, requests)

    assert len(meter) <= 62
    assert [each.number for each in meter] == sorted({each.number for each in meter})
    assert all(each.units > 0 for each in meter)


@given(limits, windows)
def test_a_meter_that_was_emptied_is_wholly_free_after_its_window_and_not_before(limit: int, window: float) -> None:
    all_of_it = Charge("rpm", "requests", Allowance(limit, window), limit)
    meter, _ = take((), all_of_it, NOW)

    _, early = take(meter, all_of_it, NOW + window - 2 * MICROSECOND)
    _, late = take(meter, all_of_it, NOW + window)

    assert (early.allowed, late.allowed) == (False, True)


def test_a_client_that_keeps_to_its_pace_is_never_refused() -> None:
    meter: Meter = ()
    verdicts = []
    for number in range(300):
        meter, verdict = take(meter, a_charge(limit=60), NOW + 0.75 + number)
        verdicts.append(verdict.allowed)

    assert all(verdicts)


def test_no_charges_are_always_allowed() -> None:
    changed, verdict = rate.take(State(), [], (), micros(NOW))

    assert (changed, verdict) == (State(), Verdict(allowed=True, at=NOW))


def test_a_charge_of_nothing_is_allowed_on_a_spent_meter_and_changes_nothing() -> None:
    meter = spent((NOW, 25))

    after, verdict = take(meter, a_charge(0), NOW)

    assert (verdict.allowed, after) == (True, meter)


# --- what a refusal costs, and how long it lasts ----------------------------------------------------------------------


@given(walks(), st.integers(1, 50))
def test_a_refused_request_costs_nothing_however_often_it_knocks(
    given_walk: tuple[Allowance, list[Asked]], knocks: int
) -> None:
    allowance, requests = given_walk
    meter, _ = walk(allowance, requests)
    too_much = Charge("rpm", "requests", allowance, allowance.limit)
    now = requests[-1][0]
    after, verdict = take(meter, too_much, now)

    for _ in range(0 if verdict.allowed else knocks):
        after, verdict = take(after, too_much, now)

    assert verdict.allowed or after == meter


@given(walks(most=2), st.integers(1, 2_000))
def test_retry_after_is_exact(given_walk: tuple[Allowance, list[Asked]], cost: int) -> None:
    allowance, requests = given_walk
    meter, _ = walk(allowance, requests)
    charge = Charge("rpm", "requests", allowance, min(cost, 2 * allowance.limit))
    now = requests[-1][0]
    _, refusal = take(meter, charge, now)

    _, at_the_time = take(meter, charge, now + refusal.retry_after)
    _, before_it = take(meter, charge, now + refusal.retry_after - 2 * MICROSECOND)

    assert at_the_time.allowed
    assert not before_it.allowed or refusal.retry_after == 0.0


def test_an_admitted_request_has_nothing_to_wait_for() -> None:
    _, verdict = take((), a_charge(), NOW)

    assert verdict == Verdict(True, (Reading("requests", 10, 9, 60.0),), at=NOW)


def test_a_refusal_names_what_refused() -> None:
    _, verdict = take(spent((NOW, 10)), a_charge(), NOW + 15.0)

    assert (verdict.retry_after, verdict.refused_by, verdict.meter, verdict.at) == (45.0, "requests", "rpm", NOW + 15.0)


def test_only_as_much_has_to_leave_as_the_request_needs() -> None:
    meter = spent((NOW, 3), (NOW + 10.0, 3), (NOW + 20.0, 3))

    waits = [take(meter, a_charge(cost), NOW + 30.0)[1].retry_after for cost in (1, 4, 5, 7, 8, 10)]

    assert waits == [0.0, 30.0, 40.0, 40.0, 50.0, 50.0]


def test_a_charge_larger_than_the_allowance_is_admitted_when_the_meter_is_wholly_free() -> None:
    meter = spent((NOW, 1))

    _, refusal = take(meter, a_charge(25), NOW)
    after, admission = take(meter, a_charge(25), NOW + refusal.retry_after)
    _, next_one = take(after, a_charge(1), NOW + 60.0)

    assert (refusal.allowed, refusal.retry_after) == (False, 60.0)
    assert (admission.allowed, admission.readings[0].remaining) == (True, 0)
    assert next_one.retry_after == 60.0


# --- several meters ---------------------------------------------------------------------------------------------------


def test_all_meters_are_charged_or_none() -> None:
    requests, tokens = a_charge(1, limit=10), a_charge(600, limit=1_000, meter="tpm")
    first, _ = rate.take(State(), [requests, tokens], (), micros(NOW))

    second, verdict = rate.take(first, [requests, tokens], (), micros(NOW))

    assert not verdict.allowed
    assert second == State()
    assert [rate.used(meter) for meter in first.meters.values()] == [1, 600]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_meter_that_takes_longest_is_the_one_that_refused(order: tuple[int, int]) -> None:
    charges = [a_charge(1, limit=10), a_charge(600, limit=1_000, meter="tpm")]
    state = State({"rpm": spent((NOW - 40.0, 10)), "tpm": spent((NOW - 24.0, 1_000))})

    _, verdict = rate.take(state, [charges[at] for at in order], (), micros(NOW))

    assert (verdict.refused_by, verdict.meter, verdict.retry_after) == ("tokens", "tpm", 36.0)
    assert [reading.what for reading in verdict.readings] == [charges[at].what for at in order]


@pytest.mark.parametrize(
    ("left_for", "refused_by", "meter"), [(59.5, "concurrency", "runs"), (58.5, "requests", "rpm")]
)
def test_a_place_is_worth_asking_for_again_in_a_second(left_for: float, refused_by: str, meter: str) -> None:
    state = State({"rpm": spent((NOW - left_for, 10))}, {"runs": {"run-1": micros(NOW + 9.0)}})

    _, verdict = rate.take(state, [a_charge()], [a_slot("run-2", limit=1)], micros(NOW))

    assert (verdict.refused_by, verdict.meter) == (refused_by, meter)
    assert verdict.retry_after == pytest.approx(max(1.0, 60.0 - left_for))


# --- readings ---------------------------------------------------------------------------------------------------------


def test_a_reading_tells_what_is_left_after_the_decision() -> None:
    _, verdict = take((), a_charge(3), NOW)

    assert verdict.readings == (Reading("requests", limit=10, remaining=7, reset=60.0),)


def test_a_refusal_shows_the_meter_as_it_is() -> None:
    _, verdict = take(spent((NOW, 8)), a_charge(5), NOW + 12.0)

    assert verdict.readings == (Reading("requests", limit=10, remaining=2, reset=48.0),)


def test_a_refusal_shows_a_meter_that_nobody_has_used_as_wholly_free() -> None:
    tokens = a_charge(600, limit=1_000, meter="tpm")

    _, verdict = rate.take(State({"rpm": spent((NOW, 10))}), [a_charge(1), tokens], (), micros(NOW))

    assert verdict.readings[1] == Reading("tokens", limit=1_000, remaining=1_000, reset=0.0)


@given(walks())
def test_as_much_as_a_reading_shows_can_be_taken_and_not_one_unit_more(
    given_walk: tuple[Allowance, list[Asked]],
) -> None:
    allowance, requests = given_walk
    meter, _ = walk(allowance, requests)
    now = requests[-1][0]
    remaining = take(meter, Charge("rpm", "requests", allowance, 0), now)[1].readings[0].remaining

    _, shown = take(meter, Charge("rpm", "requests", allowance, remaining), now)
    _, one_more = take(meter, Charge("rpm", "requests", allowance, remaining + 1), now)

    assert shown.allowed
    assert not one_more.allowed or remaining == allowance.limit


@given(walks(most=2))
def test_a_meter_is_wholly_free_again_when_its_reading_says(given_walk: tuple[Allowance, list[Asked]]) -> None:
    allowance, requests = given_walk
    meter, _ = walk(allowance, requests)
    now = requests[-1][0]
    nothing = Charge("rpm", "requests", allowance, 0)

    reset = take(meter, nothing, now)[1].readings[0].reset

    early, later = (take(meter, nothing, now + after)[1].readings[0] for after in (reset - 2 * MICROSECOND, reset))
    assert later == Reading("requests", allowance.limit, allowance.limit, 0.0)
    assert reset == 0.0 or early.remaining < allowance.limit


def test_of_several_readings_of_a_unit_the_tightest_counts() -> None:
    readings = (
        Reading("tokens", 1_000, 900, 60.0),
        Reading("requests", 600, 10, 60.0),
        Reading("requests", 60, 3, 20.0),
        Reading("tokens", 500, 500, 0.0),
        Reading("requests", 5, 3, 30.0),
    )

    assert tightest(readings) == (Reading("tokens", 500, 500, 0.0), Reading("requests", 5, 3, 30.0))


# --- corrections ------------------------------------------------------------------------------------------------------


def test_an_estimate_that_was_too_high_comes_back() -> None:
    corrected = rate.correct(spent((NOW, 8)), a_charge(-6), micros(NOW), micros(NOW + 5.0))

    assert read(corrected, NOW + 5.0) == Reading("requests", limit=10, remaining=8, reset=55.0)


def test_what_is_given_back_is_given_back_to_when_it_was_taken() -> None:
    meter = spent((NOW, 3), (NOW + 30.0, 5))

    corrected = rate.correct(meter, a_charge(-4), micros(NOW + 30.0), micros(NOW + 40.0))
    too_late = rate.correct(meter, a_charge(-2), micros(NOW), micros(NOW + 60.0))

    assert [each.units for each in corrected] == [3, 1]
    assert [each.units for each in too_late] == [5]


def test_giving_back_more_than_was_taken_leaves_a_meter_wholly_free_and_no_freer() -> None:
    corrected = rate.correct(spent((NOW, 1)), a_charge(-1_000), micros(NOW), micros(NOW))

    after, all_of_it = take(corrected, a_charge(10), NOW)
    _, one_more = take(after, a_charge(1), NOW)

    assert read(corrected, NOW) == Reading("requests", limit=10, remaining=10, reset=0.0)
    assert (all_of_it.allowed, one_more.allowed) == (True, False)


def test_an_estimate_that_was_too_low_delays_the_next_request() -> None:
    corrected = rate.correct(spent((NOW, 8)), a_charge(5), micros(NOW), micros(NOW + 20.0))

    _, verdict = take(corrected, a_charge(1), NOW + 20.0)
    assert verdict.readings[0] == Reading("requests", limit=10, remaining=0, reset=60.0)
    assert verdict.retry_after == 40.0


# --- days -------------------------------------------------------------------------------------------------------------


def daily(cost: int, *, limit: int = 100) -> Charge:
    return replace(a_charge(cost, limit=limit, meter="tpm"), daily=True)


def test_a_day_is_overrun_by_one_request_only() -> None:
    meter, under = take((), daily(99), NOW)
    meter, over = take(meter, daily(500), NOW)
    _, beyond = take(meter, daily(1), NOW)

    assert (under.allowed, over.allowed, beyond.allowed) == (True, True, False)
    assert rate.used(meter) == 599


@given(st.lists(st.tuples(st.floats(0, 200_000), st.integers(0, 80)), max_size=40))
def test_a_day_never_sees_more_than_its_limit_and_one_request(steps: list[Asked]) -> None:
    meter: Meter = ()
    taken: dict[int, list[int]] = {}
    now = NOW
    for pause, cost in steps:
        now += pause
        meter, verdict = take(meter, daily(cost), now)
        if verdict.allowed and cost:
            taken.setdefault(int(now // 86_400), []).append(cost)

    assert all(sum(costs[:-1]) < 100 for costs in taken.values())


def test_a_day_ends_at_midnight_utc() -> None:
    meter = spent((MIDNIGHT - 600.0, 100), charge=daily(0))

    _, refusal = take(meter, daily(1), MIDNIGHT - 600.0)
    _, early = take(meter, daily(1), MIDNIGHT - 2 * MICROSECOND)
    _, late = take(meter, daily(1), MIDNIGHT)

    assert (refusal.retry_after, refusal.readings[0].reset) == (600.0, 600.0)
    assert (early.allowed, late.allowed, late.readings[0].remaining) == (False, True, 99)


@pytest.mark.parametrize(("cost", "today", "tomorrow"), [(-30, 10, 0), (30, 70, 0)])
def test_a_day_that_is_over_is_not_corrected(cost: int, today: int, tomorrow: int) -> None:
    at = MIDNIGHT - 600.0
    meter = spent((at, 40), charge=daily(0))

    corrected = [rate.correct(meter, daily(cost), micros(at), micros(now)) for now in (MIDNIGHT - 1.0, MIDNIGHT)]

    assert [rate.used(each) for each in corrected] == [today, tomorrow]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_time_stands_still_while_a_clock_that_was_set_back_catches_up() -> None:
    meter, verdict = take(spent((NOW, 9)), a_charge(1), NOW - 30.0)

    assert (verdict.allowed, verdict.readings[0].reset) == (True, 90.0)
    assert meter == (Slice(int(NOW), 10, micros(NOW)),)


def test_a_clock_that_was_set_back_by_more_than_the_window_frees_the_meter() -> None:
    assert read(spent((NOW, 10)), NOW - 61.0) == Reading("requests", limit=10, remaining=10, reset=0.0)


# --- places -----------------------------------------------------------------------------------------------------------


def a_slot(holder: str = "run-1", *, limit: int = 2, seconds: float = 30.0) -> Slot:
    return Slot("runs", limit, holder, seconds)


def test_as_many_hold_a_place_as_there_are() -> None:
    holders: Holders = {}
    answers = []
    for holder in ("run-1", "run-2", "run-1", "run-3"):
        changed, verdict = rate.take(State({}, {"runs": holders}), (), [a_slot(holder)], micros(NOW))
        holders = changed.holders.get("runs", holders)
        answers.append(verdict.allowed)

    assert answers == [True, True, True, False]
    assert holders.keys() == {"run-1", "run-2"}


def test_a_place_lapses_unless_it_is_kept() -> None:
    holders = rate.hold(rate.hold({}, a_slot("left"), micros(NOW)), a_slot("kept"), micros(NOW))

    holders = rate.keep(holders, a_slot("kept"), micros(NOW + 20.0))

    at = micros(NOW + 30.0)
    assert not rate.fits(holders, a_slot("new"), at - 1)
    assert rate.fits(holders, a_slot("new"), at)
    assert not rate.fits(rate.hold(holders, a_slot("new"), at), a_slot("newer"), at)


def test_a_place_that_has_lapsed_is_not_kept() -> None:
    holders = rate.hold({}, a_slot(), micros(NOW))

    assert rate.keep(holders, a_slot(), micros(NOW + 30.0)) == holders
    assert rate.keep({}, a_slot(), micros(NOW)) == {}
