"""The description of the admin API: OpenAPI, complete, true of the answers, and on the admin port."""

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from config.composition import build
from config.settings import Settings
from entrypoints.http.admin.description import describe
from entrypoints.http.assembly import admin_routes
from tests.http.admins import Admin
from tests.http.replica import Replica, running
from tests.provider.process import ProviderProcess

pytestmark = pytest.mark.anyio

ROUTES = admin_routes(build(Settings()))
DESCRIBED = describe("1.0.0", ROUTES)


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DESCRIBED["paths"][f"/admin/v1{path}"][method.lower()]
    return found


def test_it_is_openapi() -> None:
    validate(DESCRIBED)


def test_every_route_is_described_in_its_own_words_and_nothing_else() -> None:
    told = {
        (method.upper(), path): operation["summary"]
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
    }

    assert told == {(route.method, route.full_path): route.about for route in ROUTES}


async def test_it_is_served_on_the_admin_port_with_a_page_to_read_it(replica: Replica) -> None:
    described, shown = await replica.admin.get("/openapi.json"), await replica.admin.get("/docs")

    assert described.json()["paths"] == DESCRIBED["paths"]
    assert "swagger" in shown.text
    assert "/admin/v1/tenants" not in (await replica.client.get("/openapi.json")).text


async def test_without_descriptions_there_is_none(provider: ProviderProcess) -> None:
    async with running(provider, docs=False) as replica:
        assert (await replica.admin.get("/openapi.json")).status_code == 404


async def test_answers_are_as_described(replica: Replica) -> None:
    admin, tenant = Admin(replica), "/tenants/{tenant_id}"
    group, key = {"id": "a"}, {"group": "a", "user": "u"}
    asked = [
        ("POST", "/tenants", {"id": "described"}, {}),
        ("POST", "/tenants", {"id": "described"}, {}),
        ("PATCH", tenant, {"policy": "strict"}, {"If_Match": "*"}),
        ("PATCH", tenant, {"policy": "strict"}, {}),
        ("PATCH", tenant, {"policy": "lax"}, {"If_Match": "*"}),
        ("PATCH", tenant, {}, {"If_Match": '"another"'}),
        ("POST", tenant + "/groups", group, {"If_Match": "*"}),
        ("POST", tenant + "/keys", key, {}),
        ("DELETE", tenant + "/cache", None, {}),
        ("GET", "/targets/{target_id}", None, {}),
        ("DELETE", tenant, None, {"If_Match": "*"}),
    ]
    for method, path, body, headers in asked:
        place = path.format(tenant_id="described", target_id="none")
        require(await admin.ask(method, place, body, **headers), operation(method, path))


def require(answer: httpx.Response, described: dict[str, Any]) -> None:
    """Fail unless the answer is of a status, a content type and a form that the operation has."""
    reply = described["responses"][str(answer.status_code)]
    kind = answer.headers.get("content-type")
    assert reply.get("content", {}).keys() == ({kind} if kind else set())
    if kind:
        schema = {**reply["content"][kind]["schema"], "components": DESCRIBED["components"]}
        Draft202012Validator(schema).validate(answer.json())
