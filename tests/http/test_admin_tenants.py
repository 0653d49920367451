"""Tenants and groups in the admin API: nobody overwrites what they have not seen, and nobody reads a key."""

import asyncio
from typing import Any

import pytest

from tests.http.admins import Admin
from tests.http.log import Log
from tests.http.replica import PROVIDER_KEY, TENANT_DOCUMENT, Replica

pytestmark = pytest.mark.anyio

_KEY = "sk-a-key-of-some-provider-1234"


@pytest.fixture
def admin(replica: Replica) -> Admin:
    return Admin(replica)


async def test_a_tenant_that_was_created_serves_at_once(replica: Replica, admin: Admin) -> None:
    await admin.create("new-one", **TENANT_DOCUMENT)

    answer = await replica.client.get(
        "/new-one/v1/models", headers={"Authorization": f"Bearer {replica.token('new-one')}"}
    )

    assert answer.status_code == 200
    assert {"id": "new-one"} in (await admin.ask("GET", "/tenants")).json()["data"]


async def test_keys_are_shown_by_their_ends_only(admin: Admin) -> None:
    await admin.create("masked", api_keys={"openai": [_KEY, "short"]}, default="openai")

    shown = await admin.ask("GET", "/tenants/masked")

    assert shown.json() == {"id": "masked", "api_keys": {"openai": ["sk-…1234", "…"]}, "default": "openai"}


async def test_a_masked_key_that_is_sent_back_is_refused(admin: Admin) -> None:
    tag = await admin.create("sent-back", api_keys={"openai": _KEY})
    shown = (await admin.ask("GET", "/tenants/sent-back")).json()

    answer = await admin.ask("PATCH", "/tenants/sent-back", {"api_keys": shown["api_keys"]}, If_Match=tag)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_document")
    assert _KEY not in answer.text


async def test_a_patch_changes_what_it_names_and_takes_away_what_is_null(admin: Admin) -> None:
    tag = await admin.create("patched", groups={"staff": {"initial_tokens": 5}, "guests": {}}, policy="strict")
    patch = {"groups": {"staff": {"daily_tokens": 9}, "guests": None}, "policy": None}

    answer = await admin.ask("PATCH", "/tenants/patched", patch, If_Match=tag)

    assert answer.json() == {"id": "patched", "groups": {"staff": {"initial_tokens": 5, "daily_tokens": 9}}}
    assert answer.headers["etag"] != tag
    assert (await admin.ask("GET", "/tenants/patched")).headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", ""), ("DELETE", ""), ("POST", "/groups"), ("DELETE", "/groups/a")]
)
async def test_a_change_needs_the_version_that_was_seen(admin: Admin, method: str, path: str) -> None:
    tenant = f"versions-{method}{len(path)}".lower()
    tag = await admin.create(tenant, groups={"a": {}})
    await admin.ask("PATCH", f"/tenants/{tenant}", {"policy": "strict"}, If_Match=tag)
    body: Any = {"id": "b"} if method == "POST" else {}

    without = await admin.ask(method, f"/tenants/{tenant}{path}", body)
    stale = await admin.ask(method, f"/tenants/{tenant}{path}", body, If_Match=tag)
    weak = await admin.ask(method, f"/tenants/{tenant}{path}", body, If_Match=f"W/{tag}")
    whichever = await admin.ask(method, f"/tenants/{tenant}{path}", body, If_Match="*")

    assert [answer.status_code for answer in (without, stale, weak)] == [428, 412, 400]
    assert whichever.is_success


async def test_of_two_changes_at_once_one_is_told_that_it_came_too_late(admin: Admin) -> None:
    tag = await admin.create("raced")
    limits = [{"limits": {"requests_per_minute": number}} for number in range(1, 9)]

    answers = await asyncio.gather(*(admin.ask("PATCH", "/tenants/raced", patch, If_Match=tag) for patch in limits))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_unknown_and_read_only_fields_are_refused_all_at_once_and_nothing_is_changed(admin: Admin) -> None:
    tag = await admin.create("strict-one")
    patch = {"id": "other", "colour": "red", "groups": {"staff": {"size": 3}}, "limits": {"requests_per_minute": -1}}

    answer = await admin.ask("PATCH", "/tenants/strict-one", patch, If_Match=tag)

    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/id",
        "/colour",
        "/groups/staff/size",
        "/limits/requests_per_minute",
    }
    assert (await admin.ask("GET", "/tenants/strict-one")).headers["etag"] == tag


async def test_what_others_wrote_into_a_document_stays_there(replica: Replica, admin: Admin) -> None:
    await replica.put_tenant("by-hand", {"billing_code": 7, "user_groups": ["staff"]})

    answer = await admin.ask("PATCH", "/tenants/by-hand", {"policy": "strict"}, If_Match="*")

    assert answer.json() == {"id": "by-hand", "billing_code": 7, "user_groups": ["staff"], "policy": "strict"}


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"default": "nobody"}, "/default"),
        ({"api_keys": {"nobody": _KEY}}, "/api_keys/nobody"),
        ({"models": {"m": {"provider": "nobody"}}}, "/models/m/provider"),
        ({"groups": {"a": {}}, "default_group": "b"}, "/default_group"),
    ],
)
async def test_a_document_that_names_what_is_not_there_is_refused(
    admin: Admin, document: dict[str, Any], pointer: str
) -> None:
    answer = await admin.ask("POST", "/tenants", {"id": "names", **document})

    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (400, [pointer])


async def test_a_tenant_cannot_stand_in_a_providers_place_nor_in_anothers(replica: Replica, admin: Admin) -> None:
    await admin.create("there-already")

    provider = await admin.ask("POST", "/tenants", {"id": "openai"})
    again = await admin.ask("POST", "/tenants", {"id": "there-already"})
    no_id = await admin.ask("POST", "/tenants", {"id": "a:b"})

    assert (provider.status_code, provider.json()["code"]) == (409, "tenant_id_taken")
    assert (again.status_code, again.json()["code"]) == (409, "tenant_exists")
    assert no_id.status_code == 400


async def test_a_deleted_tenant_is_gone_and_its_balances_are_not(replica: Replica, admin: Admin) -> None:
    tag = await admin.create("passing", **TENANT_DOCUMENT)
    replica.set_balance("passing", 77)

    deleted = await admin.ask("DELETE", "/tenants/passing", If_Match=tag)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await admin.ask("GET", "/tenants/passing")).status_code == 404
    assert await replica.available("passing") == 77


@pytest.mark.parametrize("body", [b"[]", b"{", b"", b"5"])
async def test_a_body_that_is_no_object_is_refused(replica: Replica, admin: Admin, body: bytes) -> None:
    token = replica.token(scopes=admin.scopes)
    answer = await replica.admin.post("/admin/v1/tenants", content=body, headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


# --- groups ----------------------------------------------------------------------------------------------------------


async def test_groups_of_both_forms_are_listed_changed_and_taken_away(admin: Admin) -> None:
    await admin.create("grouped", user_groups=["anonymous", "staff"], groups={"staff": {"initial_tokens": 1}})

    before = (await admin.ask("GET", "/tenants/grouped/groups")).json()["data"]
    changed = await admin.ask("PATCH", "/tenants/grouped/groups/anonymous", {"daily_tokens": 3}, If_Match="*")
    await admin.ask("DELETE", "/tenants/grouped/groups/staff", If_Match="*")
    after = (await admin.ask("GET", "/tenants/grouped/groups")).json()["data"]

    assert before == [{"id": "anonymous"}, {"id": "staff", "initial_tokens": 1}]
    assert changed.json() == {"id": "anonymous", "daily_tokens": 3}
    assert after == [{"id": "anonymous", "daily_tokens": 3}]


async def test_a_group_is_created_once_and_unknown_ones_are_not_found(admin: Admin) -> None:
    await admin.create("groups-once")

    created = await admin.ask("POST", "/tenants/groups-once/groups", {"id": "a", "initial_tokens": 2}, If_Match="*")
    again = await admin.ask("POST", "/tenants/groups-once/groups", {"id": "a"}, If_Match="*")
    wrong = await admin.ask("POST", "/tenants/groups-once/groups", {"id": "b c"}, If_Match="*")
    unknown = [
        await admin.ask(method, "/tenants/groups-once/groups/x", {} if method == "PATCH" else None, If_Match="*")
        for method in ("GET", "PATCH", "DELETE")
    ]

    assert (created.status_code, created.json()) == (201, {"id": "a", "initial_tokens": 2})
    assert (again.status_code, wrong.status_code) == (409, 400)
    assert [answer.json()["code"] for answer in unknown] == ["group_not_found"] * 3


# --- the audit -------------------------------------------------------------------------------------------------------


async def test_every_change_is_told_with_who_and_where_and_never_with_what(admin: Admin, json_log: Log) -> None:
    tag = await admin.create("audited", api_keys={"openai": PROVIDER_KEY})
    await admin.ask("PATCH", "/tenants/audited", {"api_keys": {"openai": _KEY}}, If_Match=tag)
    await admin.ask("POST", "/tenants/audited/groups", {"id": "g"}, If_Match="*")
    await admin.ask("DELETE", "/tenants/audited", If_Match="*")

    told = [(line["operator"], line["action"], line["tenant"], line["changed"]) for line in json_log.of("Administered")]

    assert told == [
        ("olga", "tenant.create", "audited", "/api_keys"),
        ("olga", "tenant.change", "audited", "/api_keys/openai"),
        ("olga", "group.create", "audited", "/groups"),
        ("olga", "tenant.delete", "audited", "/api_keys /groups"),
    ]
    assert _KEY not in json_log.text
    assert PROVIDER_KEY not in json_log.text


async def test_a_change_that_changes_nothing_is_no_event(admin: Admin, json_log: Log) -> None:
    tag = await admin.create("unmoved", policy="strict")

    answer = await admin.ask("PATCH", "/tenants/unmoved", {"policy": "strict"}, If_Match=tag)

    assert answer.headers["etag"] == tag
    assert [line["action"] for line in json_log.of("Administered")] == ["tenant.create"]
