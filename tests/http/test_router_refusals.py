"""Where no handler runs: unknown paths, wrong methods, bodies too large, requests that are none."""

import httpx
import orjson
import pytest

from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import COMPLETIONS, GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, plainly, told
from tests.provider.process import ProviderProcess

INVALID = "invalid_request_error"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_unknown_path_is_404_in_the_surfaces_dialect(member: Member, surface: Surface) -> None:
    answer = await member.get(surface, "/v1/embeddings")

    path = f"{surface.root(member.tenant)}/v1/embeddings"
    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (404, "unknown_url", f"Invalid URL (GET {path})")


@pytest.mark.parametrize("path", ["/", "/nowhere", "/admin/v1/tenants", "/v2/chat/completions"])
async def test_a_path_that_is_on_no_surface_is_told_as_openai_does(replica: Replica, path: str) -> None:
    answer = await replica.client.get(path)

    assert as_openai(answer).code == "unknown_url"


@pytest.mark.parametrize("path", [COMPLETIONS, f"{COMPLETIONS}/job-1", "/v1/models", "/v1/models/gpt-4o"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_wrong_method_is_405_and_names_the_right_one(
    member: Member, surface: Surface, method: str, path: str
) -> None:
    answer = await member.replica.client.request(method, surface.root(member.tenant) + path)

    assert told(answer, surface).status == 405
    assert told(answer, surface).code == "method_not_supported"
    assert answer.headers["allow"] == ("POST" if path == COMPLETIONS else "GET")


async def test_head_is_no_method_of_a_completion_and_has_no_body(member: Member) -> None:
    answer = await member.replica.client.head(TENANT.path(member.tenant))

    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["x-error-code"] == "method_not_supported"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_body_that_is_too_large_is_413(process: ProviderProcess, surface: Surface) -> None:
    async with running(process, body_bytes=1024) as small:
        member = Member(small, await small.add_tenant())
        answer = await member.send(surface, b'"' + b"x" * 2000 + b'"')

    assert told(answer, surface).status == 413
    assert told(answer, surface).code == "payload_too_large"


async def test_a_body_of_the_largest_size_is_taken(process: ProviderProcess) -> None:
    async with running(process, body_bytes=1024) as small:
        member = Member(small, await small.add_tenant())
        content = orjson.dumps(member.body(TENANT))
        answer = await member.send(TENANT, content + b" " * (1024 - len(content)))

    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_body_that_says_it_is_no_json_is_415(member: Member, surface: Surface, media_type: str) -> None:
    answer = await member.post(surface, headers={"Content-Type": media_type})

    error = told(answer, surface)
    assert (error.status, error.code) == (415, "unsupported_media_type")
    assert error.message == "Unsupported media type: the body must be application/json."


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/a+json", ""]
)
async def test_a_body_that_says_it_is_json_or_nothing_is_taken(member: Member, media_type: str) -> None:
    answer = await member.post(TENANT, headers={"Content-Type": media_type})

    assert answer.status_code == 200


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_media_type_is_spoken_of_after_who_is_calling(member: Member, surface: Surface) -> None:
    headers = {"X-Tenant-Id": "nobody", "Content-Type": "text/plain"}

    answer = await member.replica.client.post(surface.path("nobody"), content=b"", headers=headers)

    assert answer.status_code == (404 if surface is GROUP else 401)


async def test_a_path_is_repeated_printably_and_in_part(replica: Replica) -> None:
    answer = await replica.client.get(f"/{'x' * 300}")

    assert len(as_openai(answer).message) < 230


async def test_a_refusal_of_the_group_surface_is_plain(replica: Replica) -> None:
    answer = await replica.client.get("/v1/nothing")

    assert plainly(answer) == Told(404, "unknown_url", "Invalid URL (GET /v1/nothing)")


async def test_a_refusal_beside_a_provider_is_openais(replica: Replica) -> None:
    answer: httpx.Response = await replica.client.get(f"{PROVIDER.prefix}/v1/nothing")

    assert as_openai(answer) == Told(404, "unknown_url", "Invalid URL (GET /scripted/v1/nothing)", INVALID)
