"""Balances in the admin API: read, granted to once, set once, and what changed them."""

from typing import Any

import pytest

from tests.http.admins import Admin
from tests.http.log import Log
from tests.http.replica import TENANT_DOCUMENT, Replica

pytestmark = pytest.mark.anyio


@pytest.fixture
def admin(replica: Replica) -> Admin:
    return Admin(replica)


async def balances_of(admin: Admin) -> str:
    return f"/tenants/{await admin.replica.add_tenant(groups={'staff': {}, 'guests': {}})}/balances"


async def test_a_grant_is_carried_out_once_for_its_key(admin: Admin) -> None:
    place = f"{await balances_of(admin)}/staff/ann"

    first, again = [await admin.ask("POST", f"{place}/grant", {"amount": 5}, Idempotency_Key="op-1") for _ in range(2)]
    other = await admin.ask("POST", f"{place}/grant", {"amount": 6}, Idempotency_Key="op-1")
    anew = await admin.ask("POST", f"{place}/grant", {"amount": 5}, Idempotency_Key="op-2")

    assert first.json() == again.json()
    assert (first.json()["available"], anew.json()["available"]) == (5, 10)
    assert (other.status_code, other.json()["code"]) == (409, "operation_conflict")


async def test_a_balance_is_set_and_may_be_a_debt(admin: Admin) -> None:
    place = f"{await balances_of(admin)}/staff/ann"

    answer = await admin.ask("POST", f"{place}/adjust", {"balance": -3}, Idempotency_Key="op-1")

    assert answer.json()["available"] == (await admin.ask("GET", place)).json()["available"] == -3


async def test_the_history_is_paged_from_the_newest(admin: Admin) -> None:
    place = f"{await balances_of(admin)}/staff/ann"
    for number in (1, 2, 3):
        await admin.ask("POST", f"{place}/grant", {"amount": number}, Idempotency_Key=f"op-{number}")

    newest = (await admin.ask("GET", f"{place}/history?limit=2")).json()["data"]
    older = (await admin.ask("GET", f"{place}/history?before={newest[-1]['id']}")).json()["data"]

    assert [(entry["kind"], entry["operation"], entry["balance"]) for entry in newest + older] == [
        ("grant", "op-3", 6),
        ("grant", "op-2", 3),
        ("grant", "op-1", 1),
    ]


async def test_the_balances_of_a_tenant_are_listed_and_no_others(admin: Admin) -> None:
    place, elsewhere = await balances_of(admin), await balances_of(admin)
    for where, who in ((place, "staff/ann"), (place, "guests/bob"), (elsewhere, "staff/eve")):
        await admin.ask("POST", f"{where}/{who}/grant", {"amount": 4}, Idempotency_Key="op")

    listed = (await admin.ask("GET", place)).json()["data"]
    few = (await admin.ask("GET", f"{place}?limit=1")).json()["data"]

    assert [(row["group"], row["user"], row["available"]) for row in listed] == [
        ("guests", "bob", 4),
        ("staff", "ann", 4),
    ]
    assert len(few) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("staff/ann/grant", {"amount": 0}, 400, "invalid_value"),
        ("staff/ann/grant", {"amount": 2**53}, 400, "invalid_value"),
        ("staff/ann/grant", {"amount": True}, 400, "invalid_type"),
        ("staff/ann/grant", {"amount": 1.0}, 400, "invalid_type"),
        ("staff/ann/grant", {}, 400, "missing_required_parameter"),
        ("staff/ann/grant", {"amount": 1, "note": "x"}, 400, "unknown_parameter"),
        ("staff/ann/adjust", {"balance": -(2**53)}, 400, "invalid_value"),
        ("nobody/ann/grant", {"amount": 1}, 400, "invalid_group_id"),
        ("staff/a%3Ab/grant", {"amount": 1}, 400, "invalid_value"),
    ],
)
async def test_a_wrong_change_is_refused_and_nothing_is_changed(
    admin: Admin, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    place = await balances_of(admin)

    answer = await admin.ask("POST", f"{place}/{path}", body, Idempotency_Key="op-1")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await admin.ask("GET", place)).json()["data"] == []


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 129])
async def test_a_change_without_an_operation_is_refused(admin: Admin, key: str | None) -> None:
    place = f"{await balances_of(admin)}/staff/ann"
    headers = {} if key is None else {"Idempotency_Key": key}

    answer = await admin.ask("POST", f"{place}/grant", {"amount": 1}, **headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_operation")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1&limit=2", "limits=2", "limit=1001"])
async def test_a_query_that_means_nothing_is_refused(admin: Admin, query: str) -> None:
    assert (await admin.ask("GET", f"{await balances_of(admin)}?{query}")).status_code == 400


async def test_an_unknown_tenant_has_no_balances(admin: Admin) -> None:
    assert (await admin.ask("GET", "/tenants/nowhere/balances")).status_code == 404
    assert (await admin.ask("GET", "/tenants/nowhere/balances/staff/ann")).status_code == 404


async def test_grants_and_adjustments_are_told_by_their_operation(admin: Admin, json_log: Log) -> None:
    tenant = await admin.replica.add_tenant(**TENANT_DOCUMENT)
    place = f"/tenants/{tenant}/balances/staff/ann"
    await admin.ask("POST", f"{place}/grant", {"amount": 5}, Idempotency_Key="op-1")
    await admin.ask("POST", f"{place}/adjust", {"balance": 5}, Idempotency_Key="op-2")

    told = [(line["action"], line["subject"], line["changed"]) for line in json_log.of("Administered")]

    assert told == [
        ("balance.grant", "staff:ann", "operation:op-1"),
        ("balance.adjust", "staff:ann", "operation:op-2"),
    ]
