"""Every route of the admin API, and who may use it: a new one has to be written down here, and looked at."""

import itertools

import pytest

from config.composition import build
from config.settings import Settings
from domain.administration.access import Access
from entrypoints.http.assembly import admin_routes
from tests.http.admins import everybody
from tests.http.log import Log
from tests.http.replica import SECRET, Replica

pytestmark = pytest.mark.anyio

ONE = "/tenants/{tenant_id}"
BALANCE = ONE + "/balances/{group_id}/{user_id}"
#: Who gets past the door, by what a route takes. Nobody else does, whatever they ask about.
MAY = {
    Access.READ: {"reader", "admin"},
    Access.CHANGE: {"admin"},
    Access.READ_OWN: {"reader", "own", "admin"},
    Access.CHANGE_OWN: {"own", "admin"},
}
ROUTES = {
    ("GET", "/tenants"): Access.READ,
    ("POST", "/tenants"): Access.CHANGE,
    ("GET", ONE): Access.READ_OWN,
    ("PATCH", ONE): Access.CHANGE,
    ("DELETE", ONE): Access.CHANGE,
    ("DELETE", ONE + "/cache"): Access.CHANGE,
    ("GET", ONE + "/groups"): Access.READ_OWN,
    ("POST", ONE + "/groups"): Access.CHANGE,
    ("GET", ONE + "/groups/{group_id}"): Access.READ_OWN,
    ("PATCH", ONE + "/groups/{group_id}"): Access.CHANGE,
    ("DELETE", ONE + "/groups/{group_id}"): Access.CHANGE,
    ("GET", ONE + "/balances"): Access.READ_OWN,
    ("GET", BALANCE): Access.READ_OWN,
    ("GET", BALANCE + "/history"): Access.READ_OWN,
    ("POST", BALANCE + "/grant"): Access.CHANGE,
    ("POST", BALANCE + "/adjust"): Access.CHANGE,
    ("GET", ONE + "/keys"): Access.READ_OWN,
    ("POST", ONE + "/keys"): Access.CHANGE_OWN,
    ("DELETE", ONE + "/keys/{key_id}"): Access.CHANGE_OWN,
    ("GET", "/runs"): Access.READ,
    ("GET", "/runs/{run_id}"): Access.READ,
    ("POST", "/runs/{run_id}/cancel"): Access.CHANGE,
    ("GET", "/providers"): Access.READ,
    ("GET", "/providers/{provider_id}"): Access.READ,
    ("GET", "/models"): Access.READ,
    ("GET", "/models/{model}"): Access.READ,
    ("GET", "/targets"): Access.READ,
    ("GET", "/targets/{target_id}"): Access.READ,
    ("POST", "/targets/{target_id}/drain"): Access.CHANGE,
    ("POST", "/targets/{target_id}/undrain"): Access.CHANGE,
    ("POST", "/targets/{target_id}/probe"): Access.CHANGE,
}
PLACES = {
    "group_id": "staff",
    "user_id": "ann",
    "run_id": "job-none",
    "provider_id": "openai",
    "key_id": "key-none",
    "model": "none",
    "target_id": "none",
}
_numbers = itertools.count()


def test_every_route_is_in_the_table_with_what_it_takes() -> None:
    served = admin_routes(build(Settings.model_validate({"jwt_secret": SECRET})))

    assert {(route.method, route.path): route.access for route in served} == ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_who_may_use_a_route_gets_past_the_door_and_nobody_else(replica: Replica, method: str, path: str) -> None:
    tenant = f"door-{next(_numbers)}"
    for who, admin in everybody(replica, tenant).items():
        await replica.add_tenant(tenant)
        answer = await admin.ask(method, path.format(tenant_id=tenant, **PLACES), {} if method != "GET" else None)

        allowed = who in MAY[ROUTES[method, path]]
        assert (answer.status_code != 403) is allowed, (who, answer.text)
        if not allowed:
            assert answer.json()["code"] == "insufficient_scope"
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", [None, "Bearer nonsense"])
async def test_without_a_good_token_nothing_is_answered(
    replica: Replica, method: str, path: str, token: str | None
) -> None:
    headers = {"Authorization": token} if token is not None else {}
    place = path.format(tenant_id="acme", **PLACES)

    answer = await replica.admin.request(method, f"/admin/v1{place}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_whether_a_tenant_exists_is_not_told_to_anothers_administrator(replica: Replica) -> None:
    tenant = await replica.add_tenant()
    other = everybody(replica, tenant)["other"]

    there, not_there = [await other.ask("GET", f"/tenants/{tenant_id}") for tenant_id in (tenant, "nowhere")]

    assert {**there.json(), "request_id": ""} == {**not_there.json(), "request_id": ""}
    assert there.status_code == not_there.status_code == 403


async def test_the_public_port_knows_no_admin_api(replica: Replica) -> None:
    token = everybody(replica, "acme")["admin"]
    answer = await replica.client.get(
        "/admin/v1/tenants", headers={"Authorization": f"Bearer {replica.token(scopes=token.scopes)}"}
    )

    assert answer.status_code == 404


async def test_the_admin_port_tells_how_the_replica_is_and_serves_no_completions(replica: Replica) -> None:
    health, ready = await replica.admin.get("/healthz"), await replica.admin.get("/readyz")
    completion = await replica.admin.post("/v1/chat/completions", json={})

    assert (health.status_code, ready.status_code, completion.status_code) == (200, 200, 404)


async def test_an_unknown_path_is_a_problem(replica: Replica) -> None:
    answer = await replica.admin.get("/admin/v1/secrets")

    assert answer.headers["content-type"] == "application/problem+json"
    assert {"status": 404, "title": "Not Found", "code": "unknown_url"}.items() <= answer.json().items()


async def test_a_request_is_logged_by_its_route_and_under_its_tenant(replica: Replica, json_log: Log) -> None:
    tenant = await replica.add_tenant()

    await everybody(replica, tenant)["admin"].ask("GET", f"/tenants/{tenant}")

    (line,) = json_log.of("Request served")
    assert (line["route"], line["tenant"], line["status_code"]) == ("/admin/v1/tenants/{tenant_id}", tenant, 200)
