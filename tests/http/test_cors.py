"""Pages of other origins in a browser: what they may send, and whose answers they may read."""

import httpx
import pytest

from adapters.documents import parse_tenant
from domain.errors import TenantMisconfigured
from domain.tenants import Limits
from tests.http.member import HELLO, JSON, Member
from tests.http.replica import Replica
from tests.http.surfaces import COMPLETIONS, GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.http.wire import asking

PAGE = "https://app.example.org"
OTHER = "https://evil.example.org"
ALLOW = "access-control-allow-origin"


@pytest.fixture
async def open_member(replica: Replica) -> Member:
    """A member of a tenant that has a page of its own."""
    return Member(replica, await replica.add_tenant(allowed_origins=[PAGE, "http://localhost:3000"]))


async def preflight(
    replica: Replica, path: str, origin: str = PAGE, method: str = "POST", headers: str = "authorization,content-type"
) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await replica.client.options(path, headers=asked)


# --- what a page may send -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_page_of_the_tenants_may_ask_without_a_token_what_it_may_send(
    open_member: Member, surface: Surface
) -> None:
    answer = await preflight(open_member.replica, surface.path(open_member.tenant))

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[ALLOW] == PAGE
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["access-control-max-age"] == "7200"
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Headers"
    assert answer.headers["x-request-id"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/models", f"{COMPLETIONS}/job-1"])
async def test_it_is_told_the_methods_of_the_path(open_member: Member, path: str) -> None:
    answer = await preflight(open_member.replica, f"/{open_member.tenant}{path}", method="GET")

    assert answer.headers["access-control-allow-methods"] == "GET"


async def test_a_strange_page_is_told_nothing_and_no_more_of_tenants_that_are_not_there(open_member: Member) -> None:
    strange = await preflight(open_member.replica, TENANT.path(open_member.tenant), OTHER)
    nowhere = await preflight(open_member.replica, TENANT.path("nobody"))

    for answer in (strange, nowhere):
        assert answer.status_code == 204
        assert {name for name in answer.headers if name.startswith("access-control")} == set()
    assert strange.headers.keys() == nowhere.headers.keys()


@pytest.mark.parametrize("headers", ["", "a;b", "a, b c", "x" * 5_000 + ",", ",".join("a" * 70)])
async def test_names_that_are_none_are_not_repeated(open_member: Member, headers: str) -> None:
    answer = await preflight(open_member.replica, COMPLETIONS, headers=headers)

    assert "access-control-allow-headers" not in answer.headers


async def test_other_questions_about_options_are_refused_as_before(open_member: Member) -> None:
    path = TENANT.path(open_member.tenant)

    without_method = await open_member.replica.client.options(path, headers={"Origin": PAGE})
    nowhere = await preflight(open_member.replica, "/v1/nothing")

    assert told(without_method, TENANT).status == 405
    assert told(nowhere, GROUP).status == 404


# --- what a page may read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_page_of_the_tenants_may_read_answers_and_their_headers(open_member: Member, surface: Surface) -> None:
    wait = {"Prefer": "wait=10"} if surface is GROUP else {}

    answer = await open_member.post(surface, headers={"Origin": PAGE, **wait})

    assert answer.status_code == 200
    assert answer.headers[ALLOW] == PAGE
    assert answer.headers["vary"] == "Origin"
    exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
    own = {name for name in answer.headers if name.startswith("x-") or name in ("content-location", "retry-after")}
    assert own <= exposed


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_it_may_read_streams(open_member: Member, surface: Surface) -> None:
    async with asking(open_member, surface, more={"Origin": PAGE}, stream=True) as wire:
        head = await wire.read_head()

    assert f"\r\nAccess-Control-Allow-Origin: {PAGE}\r\n".encode() in head


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_it_may_read_what_is_wrong_with_its_request(open_member: Member, surface: Surface) -> None:
    answer = await open_member.post(surface, headers={"Origin": PAGE}, temperature=3)

    assert answer.status_code == surface.invalid_status
    assert answer.headers[ALLOW] == PAGE


async def test_it_may_read_that_its_token_is_no_good(open_member: Member) -> None:
    refused = await open_member.post(TENANT, headers={"Origin": PAGE, "Authorization": "Bearer bad"})

    assert refused.status_code == 401
    assert refused.headers[ALLOW] == PAGE


async def test_nobody_in_particular_may_ask_from_a_page(open_member: Member) -> None:
    answer = await open_member.replica.client.post(
        COMPLETIONS,
        json={"group_id": "anonymous", "messages": HELLO},
        headers={**JSON, "X-Tenant-Id": open_member.tenant, "Origin": "http://localhost:3000", "Prefer": "wait=10"},
    )

    assert answer.status_code == 200
    assert answer.headers[ALLOW] == "http://localhost:3000"


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "https://app.example.org.evil.org", "https://APP.example.org", "http://app.example.org"]
)
async def test_a_strange_page_is_answered_but_may_not_read_it(open_member: Member, origin: str) -> None:
    answer = await open_member.post(TENANT, headers={"Origin": origin})

    assert answer.status_code == 200
    assert ALLOW not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_caches_are_told_that_answers_differ_by_page(open_member: Member) -> None:
    answer = await open_member.get(TENANT, "/v1/models")

    assert answer.headers["vary"] == "Origin"


async def test_a_tenant_without_pages_has_no_part_in_this(member: Member) -> None:
    answer = await member.post(TENANT, headers={"Origin": PAGE})

    assert answer.status_code == 200
    assert not {name for name in answer.headers if name.startswith("access-control") or name == "vary"}


async def test_one_tenants_page_reads_nothing_of_anothers(replica: Replica, open_member: Member) -> None:
    other = Member(replica, await replica.add_tenant(allowed_origins=[OTHER]))

    answer = await other.post(TENANT, headers={"Origin": PAGE})

    assert ALLOW not in answer.headers


async def test_a_tenant_may_be_open_to_all_pages_by_their_names(replica: Replica) -> None:
    open_to_all = Member(replica, await replica.add_tenant(allowed_origins=["*"]))

    answer = await open_to_all.post(PROVIDER, headers={"Origin": OTHER})

    assert answer.headers[ALLOW] == OTHER
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origins",
    ["https://a", ["https://a/"], ["https://*.a"], ["null"], ["a.example.org"], ["HTTPS://a"], ["https://a\n"], [1]],
)
def test_what_is_no_origin_spoils_the_document(origins: object) -> None:
    with pytest.raises(TenantMisconfigured):
        parse_tenant("acme", {"user_groups": ["staff"], "allowed_origins": origins}, Limits())
