"""Conversations of the tenant surface: the id that was given or made up answers for the latest run."""

import pytest

from tests.http.frames import read_stream
from tests.http.member import Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, TENANT
from tests.http.told import told


def saying(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def test_a_given_conversation_id_is_the_id_of_every_answer(member: Member) -> None:
    whole = await member.post(TENANT, conversation_id="trip-to.Rome_1@acme")
    stream = await member.stream(TENANT, conversation_id="trip-to.Rome_1@acme")

    assert whole.json()["id"] == "trip-to.Rome_1@acme"
    assert {chunk["id"] for chunk in stream.chunks} == {"trip-to.Rome_1@acme"}


async def test_each_run_of_a_conversation_has_an_id_of_its_own(member: Member) -> None:
    runs = [(await member.post(TENANT, conversation_id="talk")).headers["x-completion-id"] for _ in range(3)]

    assert len(set(runs)) == 3


async def test_a_conversation_id_means_its_latest_run(member: Member) -> None:
    first = await member.post(TENANT, conversation_id="talk", messages=saying("first"))
    await member.post(TENANT, conversation_id="talk", messages=saying("second"))

    latest = await member.fetch(TENANT, "talk")
    earlier = await member.fetch(TENANT, first.headers["x-completion-id"])

    assert latest.json()["choices"][0]["message"]["content"] == "second"
    assert earlier.json()["choices"][0]["message"]["content"] == "first"
    assert latest.json()["id"] == earlier.json()["id"] == "talk"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_generated_conversation_id_means_its_run(member: Member, stream: bool) -> None:
    answer = await member.post(TENANT, stream=stream)
    conversation = read_stream(answer).chunks[0]["id"] if stream else answer.json()["id"]

    again = await member.fetch(TENANT, conversation)

    assert again.json()["id"] == conversation
    assert again.headers["x-completion-id"] == answer.headers["x-completion-id"]


async def test_a_generated_conversation_can_be_gone_on_with(member: Member) -> None:
    conversation = (await member.post(TENANT, messages=saying("first"))).json()["id"]

    await member.post(TENANT, conversation_id=conversation, messages=saying("second"))

    latest = await member.fetch(TENANT, conversation)
    assert latest.json()["choices"][0]["message"]["content"] == "second"


async def test_the_stream_of_a_conversation_can_be_resumed_by_its_id(member: Member) -> None:
    stream = await member.stream(TENANT, conversation_id="talk")

    again = await member.fetch(TENANT, "talk", stream="true", headers={"Last-Event-ID": stream.frames[2].id})

    assert again.content == b"retry: 2000\n" + b"".join(frame.wire for frame in stream.frames[3:])


async def test_two_users_may_call_a_conversation_the_same(replica: Replica, member: Member) -> None:
    bob = Member(replica, member.tenant, user="bob")
    await member.post(TENANT, conversation_id="talk", messages=saying("of ann"))
    await bob.post(TENANT, conversation_id="talk", messages=saying("of bob"))

    answers = [(await each.fetch(TENANT, "talk")).json() for each in (member, bob)]

    assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["of ann", "of bob"]


async def test_anothers_conversation_is_unknown(replica: Replica, member: Member) -> None:
    bob = Member(replica, member.tenant, user="bob")
    generated = (await member.post(TENANT)).json()["id"]
    await member.post(TENANT, conversation_id="talk")

    for conversation in (generated, "talk", "never-was"):
        assert told(await bob.fetch(TENANT, conversation), TENANT).code == "completion_not_found"


async def test_a_job_has_the_jobs_id_whatever_conversation_it_names(member: Member) -> None:
    job = await member.post(GROUP, conversation_id="talk")

    assert job.json()["id"].startswith("job-")
