"""What every answer says beside its body: its request id, and, where something is wrong, the code and when to retry."""

import re

import pytest

from domain.errors import TenantMisconfigured
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, told


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_request_id_of_the_client_is_echoed(member: Member, surface: Surface) -> None:
    given = {"X-Request-Id": "req-1.of:the/client_"}

    answers = [
        await member.post(surface, headers=given),
        await member.post(surface, headers=given, stream=True),
        await member.post(surface, headers=given, messages=[]),
        await member.get(surface, "/v1/models", headers=given),
        await member.get(surface, "/v1/nothing", headers=given),
    ]

    assert {answer.headers["x-request-id"] for answer in answers} == {"req-1.of:the/client_"}


@pytest.mark.parametrize("given", ["", "has space", "x" * 129, "<script>", 'quote"', "semi;colon"])
async def test_a_request_id_that_is_not_fit_to_be_logged_is_replaced(member: Member, given: str) -> None:
    answer = await member.post(TENANT, headers={"X-Request-Id": given})

    assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_each_request_has_an_id_of_its_own(replica: Replica) -> None:
    answers = [await replica.client.get("/healthz") for _ in range(3)]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_tenant_over_its_limit_is_told_when_to_come_back(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": 1}))
    await member.post(surface)

    answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "Rate limit exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    milliseconds = int(answer.headers["retry-after-ms"])
    assert (int(answer.headers["retry-after"]) - 1) * 1000 < milliseconds <= int(answer.headers["retry-after"]) * 1000
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-should-retry" not in answer.headers


async def test_the_type_says_which_meter_refused(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": None, "tokens_per_minute": 2_000}))
    await member.post(PROVIDER, messages=[{"role": "user", "content": "word " * 1_500}])

    answer = await member.post(PROVIDER)

    assert told(answer, PROVIDER) == Told(429, "rate_limit_exceeded", "Rate limit exceeded", "tokens")


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_empty_balance_is_not_worth_a_retry(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 0)

    answer = await member.post(surface)

    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "retry-after-ms" not in answer.headers
    assert answer.headers["x-error-code"] == "insufficient_quota"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_other_refusals_say_nothing_of_retrying(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, messages=[])

    assert not {"retry-after", "retry-after-ms", "x-should-retry"} & answer.headers.keys()


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_tenant_whose_document_cannot_be_read_is_unavailable(
    member: Member, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_it_unreadable(_: str) -> None:
        raise TenantMisconfigured

    monkeypatch.setattr(member.replica.container.tenants(), "get", find_it_unreadable)

    answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code) == (503, "tenant_misconfigured")
    assert error.message == "The tenant's configuration cannot be read."
    assert answer.headers["retry-after"] == "30"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_defect_of_ours_is_500_in_the_surfaces_dialect(
    member: Member, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: object) -> None:
        raise ZeroDivisionError("something private")

    monkeypatch.setattr(member.replica.container.limiter(), "take", break_down)

    answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code) == (500, "internal_error")
    assert error.message == "The server had an error while processing your request."
    assert error.type in (None, "server_error")
