"""The description of the API: that it is OpenAPI, complete, true of the answers, and needs nobody else to be served."""

import re
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from domain.errors import Kind
from entrypoints.http.description import answers
from entrypoints.http.description.completions import describe
from entrypoints.http.errors import _TABLE
from entrypoints.http.schema import ChatCompletionRequest, GatewayRequest
from tests.docs.app import routes
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.provider.process import ProviderProcess

DESCRIBED = describe("1.0.0")
SCHEMAS: dict[str, Any] = DESCRIBED["components"]["schemas"]
_PLACE = re.compile(r"\{[^}]*\}")


def require(body: object, *models: type[object]) -> None:
    """Fail unless the body is one of these models, as they are described."""
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    Draft202012Validator({"anyOf": references, "components": {"schemas": SCHEMAS}}).validate(body)


def test_it_is_openapi() -> None:
    validate(DESCRIBED)


def test_every_route_is_described_but_the_descriptions_own() -> None:
    described = {
        (method.upper(), _PLACE.sub("{}", path)) for path, methods in DESCRIBED["paths"].items() for method in methods
    }

    own = {(method, path) for method, path in routes() if path.startswith(("/docs", "/openapi.json"))}
    assert described == routes() - own


@pytest.mark.parametrize(
    ("name", "model"), [("GroupRequest", GatewayRequest), ("ProviderRequest", ChatCompletionRequest)]
)
def test_every_field_of_a_request_is_described(name: str, model: type[GatewayRequest]) -> None:
    assert SCHEMAS[name]["properties"].keys() == model.model_fields.keys()


def test_every_status_of_a_refusal_is_described() -> None:
    replies = DESCRIBED["paths"]["/{scope}/v1/chat/completions"]["post"]["responses"].keys()

    # What an operator may be told of a tag that is old, nobody is told here.
    told = {str(status) for kind, (status, _) in _TABLE.items() if status and kind is not Kind.CHANGED}
    assert told <= replies


@pytest.mark.parametrize("path", DESCRIBED["paths"])
def test_every_place_in_a_path_is_a_parameter(path: str) -> None:
    for operation in DESCRIBED["paths"][path].values():
        places = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}

        assert {f"{{{place}}}" for place in places} == set(_PLACE.findall(path))


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_answers_are_as_they_are_described(member: Member, surface: Surface) -> None:
    whole = await member.whole(surface)
    run_id = whole.headers["x-completion-id"]

    require(whole.json(), answers.Completion)
    require((await member.fetch(surface, run_id)).json(), answers.RunState)
    require((await member.get(surface, "/v1/models")).json(), answers.ModelList)
    require((await member.post(surface, messages=[])).json(), answers.PlainError if surface is GROUP else answers.Error)


async def test_jobs_and_health_are_as_they_are_described(member: Member) -> None:
    require((await member.post(GROUP)).json(), answers.Job)
    require((await member.post(TENANT, headers={"Prefer": "respond-async"})).json(), answers.Job)
    require((await member.replica.client.get("/healthz")).json(), answers.Health)
    require((await member.replica.client.get("/readyz")).json(), answers.Readiness)


def test_what_is_not_as_described_is_noticed() -> None:
    with pytest.raises(Exception, match="is not valid under any of the given schemas"):
        require({"id": "job-1", "status": "lost", "eta": 1}, answers.Job)


# --- over HTTP --------------------------------------------------------------------------------------------------------


async def test_the_document_is_served(replica: Replica) -> None:
    answer = await replica.client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["paths"] == DESCRIBED["paths"]


async def test_the_page_has_nothing_from_anywhere_else(replica: Replica) -> None:
    page = await replica.client.get("/docs")

    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    parts = [await replica.client.get(f"/{part}") for part in named if not part.startswith("data:")]
    assert [part.status_code for part in parts] == [200, 200, 200]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    ("name", "kind"), [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")]
)
async def test_its_parts_are_compressed_for_whoever_takes_them_so(replica: Replica, name: str, kind: str) -> None:
    small = await replica.client.get(f"/docs/{name}", headers={"Accept-Encoding": "gzip"})
    plain = await replica.client.get(f"/docs/{name}", headers={"Accept-Encoding": "identity"})

    assert (small.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert small.content == plain.content
    assert plain.headers["content-type"].startswith(kind)
    assert httpx.codes.is_success(plain.status_code)


async def test_without_it_nothing_is_there(process: ProviderProcess) -> None:
    async with running(process, docs=False) as replica:
        statuses = [(await replica.client.get(path)).status_code for path in ("/openapi.json", "/docs")]

    assert statuses == [404, 404]


@pytest.mark.parametrize("surface", [PROVIDER], ids=str)
async def test_a_scope_of_that_name_is_no_page(member: Member, surface: Surface) -> None:
    answer = await member.replica.client.get("/docs/v1/models", headers=member.headers(surface))

    assert answer.status_code in (403, 404)
