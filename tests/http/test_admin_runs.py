"""Runs, providers and models in the admin API: how they stand, and never what anybody said."""

import pytest

from tests.http.admins import Admin
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import TENANT
from tests.http.wire import asking

pytestmark = pytest.mark.anyio

_SAID = [{"role": "user", "content": "a prompt that is nobody else's affair"}]


@pytest.fixture
def admin(replica: Replica) -> Admin:
    return Admin(replica)


async def test_a_run_is_found_while_it_goes_on_shown_without_content_and_stopped(member: Member, admin: Admin) -> None:
    mine, theirs = f"/runs?tenant={member.tenant}", f"/runs?tenant={member.tenant}&user=nobody"
    async with asking(member, TENANT, model="stall-n2", stream=True, messages=_SAID) as wire:
        await wire.read_head()
        await wire.read_until(b"w1")
        listed, none = [(await admin.ask("GET", query)).json()["data"] for query in (mine, theirs)]
        shown = await admin.ask("GET", f"/runs/{wire.run_id}")
        cancelled = await admin.ask("POST", f"/runs/{wire.run_id}/cancel")
        heard = await wire.read_all()

    assert ([run["id"] for run in listed], none) == ([wire.run_id], [])
    assert {"tenant": member.tenant, "user": "ann", "status": "in_progress"}.items() <= shown.json().items()
    assert "prompt" not in shown.text
    assert cancelled.json()["status"] == "cancelled"
    assert b"completion_cancelled" in heard
    assert (await admin.ask("GET", mine)).json()["data"] == []


async def test_a_run_that_ended_is_shown_with_what_it_cost(member: Member, admin: Admin) -> None:
    completion = await member.whole(TENANT, model="echo", messages=_SAID)

    shown = await admin.ask("GET", f"/runs/{completion.headers['x-completion-id']}")

    run = shown.json()
    assert (run["status"], run["charged"]) == ("completed", int(completion.headers["x-sluice-charged-tokens"]))
    assert run["usage"]["prompt_tokens"] > 0
    assert "nobody else" not in shown.text


async def test_a_conversation_is_found_by_its_latest_run(member: Member, admin: Admin) -> None:
    first, second = [await member.whole(TENANT, conversation_id="conv-mine") for _ in range(2)]

    found = (await admin.ask("GET", f"/runs?tenant={member.tenant}&user=ann&conversation=conv-mine")).json()["data"]

    assert [run["id"] for run in found] == [second.headers["x-completion-id"]] != [first.headers["x-completion-id"]]


@pytest.mark.parametrize("run_id", ["job-01KCZ6V8XWQ3T5R7Y9ABCDEFGH", "nonsense", "%2e%2e"])
async def test_a_run_that_is_not_there_is_not_found(admin: Admin, run_id: str) -> None:
    for method, path in (("GET", f"/runs/{run_id}"), ("POST", f"/runs/{run_id}/cancel")):
        answer = await admin.ask(method, path)

        assert (answer.status_code, answer.json()["code"]) == (404, "completion_not_found")


async def test_a_status_that_no_run_has_is_refused(admin: Admin) -> None:
    assert (await admin.ask("GET", "/runs?status=sleeping")).status_code == 400


async def test_providers_are_shown_without_their_headers(admin: Admin) -> None:
    listed = (await admin.ask("GET", "/providers")).json()["data"]
    one = (await admin.ask("GET", "/providers/openai")).json()
    unknown = await admin.ask("GET", "/providers/nobody")

    assert {"scripted", "keyed", "openai"} <= {provider["id"] for provider in listed}
    assert "gpt-4o-mini" in one["served_models"]
    assert all("headers" not in provider for provider in (*listed, one))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "provider_not_registered")


async def test_models_are_shown_with_where_they_are_served(admin: Admin) -> None:
    listed = (await admin.ask("GET", "/models")).json()["data"]
    one = (await admin.ask("GET", "/models/gpt-4o-mini")).json()

    assert one in listed
    assert one["providers"]["openai"] == "gpt-4o-mini"
    assert (await admin.ask("GET", "/models/none")).status_code == 404
