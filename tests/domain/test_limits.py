"""Which meters a request is charged: the tenant's, its group's and its user's."""

import pytest

from domain.errors import DailyTokensSpent, RateLimited
from domain.ledger import Account
from domain.limits import charges, require_room, slots
from domain.rate import Allowance, Charge, Slot, Verdict
from domain.tenants import Group, Limits
from tests.builders import a_tenant, an_account, limits

NOBODY = Account("acme", "anonymous", "anonymous-7d1c")


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (limits(), ()),
        (limits(requests=5), (Charge("rpm", "requests", Allowance(5), 1),)),
        (limits(tokens=900), (Charge("tpm", "tokens", Allowance(900), 42),)),
        (
            limits(requests=5, tokens=900),
            (Charge("rpm", "requests", Allowance(5), 1), Charge("tpm", "tokens", Allowance(900), 42)),
        ),
    ],
)
def test_a_request_is_charged_to_the_meters_that_the_tenant_has(allowed: Limits, expected: tuple[Charge, ...]) -> None:
    assert charges(a_tenant(limits=allowed), an_account(), tokens=42, cost=84) == expected


def test_groups_and_users_have_meters_of_their_own() -> None:
    group = Group("staff", limits=limits(requests=50), user_limits=limits(requests=5, tokens=900))
    tenant = a_tenant(groups={"staff": group}, limits=limits(requests=500))

    taken = charges(tenant, an_account(), tokens=42, cost=84)

    assert [(charge.meter, charge.allowance.limit, charge.cost) for charge in taken] == [
        ("rpm", 500, 1),
        ("group:staff:rpm", 50, 1),
        ("user:staff:ann:rpm", 5, 1),
        ("user:staff:ann:tpm", 900, 42),
    ]


def test_nobody_in_particular_has_no_meter_of_their_own() -> None:
    group = Group("anonymous", user_limits=limits(requests=5))

    assert charges(a_tenant(groups={"anonymous": group}), NOBODY, tokens=1, cost=1) == ()


def test_a_day_is_budgeted_in_tokens_of_the_balance_for_each_user() -> None:
    tenant = a_tenant(groups={"staff": Group("staff", daily_tokens=1_000)})

    (charge,) = charges(tenant, an_account(), tokens=42, cost=84)

    assert charge == Charge("day:user:staff:ann", "tokens", Allowance(1_000, 86_400.0), 84, daily=True)


def test_all_who_are_anonymous_share_one_days_budget() -> None:
    tenant = a_tenant(groups={"anonymous": Group("anonymous", daily_tokens=1_000)})

    (charge,) = charges(tenant, NOBODY, tokens=42, cost=84)

    assert charge.meter == "day:group:anonymous"


@pytest.mark.parametrize(
    ("meter", "error"),
    [("day:user:staff:ann", DailyTokensSpent), ("rpm", RateLimited), ("user:staff:ann:runs", RateLimited)],
)
def test_who_is_refused_is_told_whether_it_is_for_the_day(meter: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        require_room(Verdict(False, meter=meter))

    require_room(Verdict(True))


def test_a_run_takes_a_slot_wherever_there_is_a_limit_on_runs_at_once() -> None:
    group = Group("staff", limits=Limits(concurrent_runs=5), user_limits=Limits(concurrent_runs=2))
    tenant = a_tenant(groups={"staff": group}, limits=Limits(concurrent_runs=50))

    assert slots(tenant, an_account(), "run-1", 60.0) == (
        Slot("runs", 50, "run-1", 60.0),
        Slot("group:staff:runs", 5, "run-1", 60.0),
        Slot("user:staff:ann:runs", 2, "run-1", 60.0),
    )


def test_no_limit_takes_no_slot() -> None:
    assert slots(a_tenant(), an_account(), "run-1", 60.0) == ()
