"""Targets in the admin API: how they are, and what becomes of requests when one is taken out."""

import itertools
from urllib.parse import quote

import pytest

from tests.http.admins import Admin
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import TENANT

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1)


@pytest.fixture
def admin(replica: Replica) -> Admin:
    return Admin(replica)


@pytest.fixture
async def member(replica: Replica) -> Member:
    """Whose requests go to a target that nobody else has, and behind it to another provider."""
    tenant = await replica.add_tenant(
        default="keyed",
        default_model="words-n1",
        api_keys={"keyed": f"sk-of-target-{next(_numbers)}"},
        routes=[{"fallbacks": [{"provider": "scripted"}]}],
    )
    return Member(replica, tenant)


async def asked(admin: Admin, member: Member) -> str:
    """The path of the target that a request of the member's has just asked."""
    assert await provider_of(member) == "keyed"
    # The one asked last comes last.
    target = (await admin.ask("GET", "/targets?provider=keyed")).json()["data"][-1]
    return f"/targets/{quote(target['id'], safe='')}"


async def provider_of(member: Member) -> str:
    answer = await member.post(TENANT)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-sluice-provider"])


async def test_a_target_is_shown_with_how_it_is_and_without_its_key(admin: Admin, member: Member) -> None:
    path = await asked(admin, member)

    shown = await admin.ask("GET", path)

    target = shown.json()
    assert {"provider": "keyed", "model": "words-n1", "state": "closed"}.items() <= target.items()
    assert (target["asked"], target["running"], target["error_rate"]) == (1, 0, 0.0)
    assert 0 < target["seconds"] < 10
    assert "sk-of-target" not in shown.text


async def test_a_drained_target_is_passed_over_until_it_is_put_back(admin: Admin, member: Member) -> None:
    path = await asked(admin, member)

    drained = await admin.ask("POST", f"{path}/drain")
    meanwhile = await provider_of(member)
    listed = (await admin.ask("GET", "/targets?provider=keyed&state=drained")).json()["data"]
    restored = await admin.ask("POST", f"{path}/undrain")

    assert (drained.json()["state"], drained.json()["rests"]) == ("drained", None)
    assert meanwhile == "scripted"
    assert [target["id"] for target in listed] == [drained.json()["id"]]
    assert restored.json()["state"] == "closed"
    assert await provider_of(member) == "keyed"


async def test_a_target_that_failed_is_asked_again_at_once_when_it_is_probed(replica: Replica, admin: Admin) -> None:
    tenant = await replica.add_tenant(
        default="keyed", default_model="status-429-ra60", api_keys={"keyed": f"sk-of-target-{next(_numbers)}"}
    )
    member = Member(replica, tenant)
    await member.post(TENANT)
    resting = (await admin.ask("GET", "/targets?provider=keyed")).json()["data"][-1]

    probed = await admin.ask("POST", f"/targets/{resting['id']}/probe")

    assert (resting["state"], probed.json()["state"], probed.json()["rests"]) == ("cooling", "closed", 0.0)
    assert resting["rests"] > 30


async def test_each_change_is_told_once_with_who_and_which(admin: Admin, member: Member, json_log: Log) -> None:
    path = await asked(admin, member)
    for verb in ("undrain", "drain", "drain", "undrain", "probe"):
        await admin.ask("POST", f"{path}/{verb}")

    told = [(line["operator"], line["action"]) for line in json_log.of("Administered")]
    subjects = {line["subject"] for line in json_log.of("Administered")}

    assert told == [("olga", "target.drain"), ("olga", "target.undrain"), ("olga", "target.probe")]
    assert {f"/targets/{quote(subject, safe='')}" for subject in subjects} == {path}


@pytest.mark.parametrize("verb", ["", "/drain", "/undrain", "/probe"])
async def test_a_target_that_was_never_asked_is_not_found(admin: Admin, verb: str) -> None:
    answer = await admin.ask("POST" if verb else "GET", f"/targets/house:0:maker%2Fgpt-9{verb}")

    assert (answer.status_code, answer.json()["code"]) == (404, "target_not_found")


async def test_a_question_about_targets_that_is_unknown_is_refused(admin: Admin) -> None:
    assert (await admin.ask("GET", "/targets?tenant=acme")).status_code == 400
