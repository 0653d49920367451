"""While a provider is silent, comments keep the connection alive: whole lines, never events."""

from collections.abc import AsyncIterator

import openai
import pytest

from tests.http.frames import read_frames
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

COMMENT = b": ka\n"


@pytest.fixture(scope="module")
async def chatty(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that is silent for no longer than a moment."""
    async with running(process, stream_grace_seconds=0.02, keep_alive_seconds=0.02, first_byte_seconds=0.3) as started:
        yield started


@pytest.fixture
async def member(chatty: Replica) -> Member:
    return Member(chatty, await chatty.add_tenant())


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_silent_provider_is_covered_by_comments(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model="hang", stream=True) as wire:
        head = await wire.read_head()
        body = await wire.read_until(COMMENT, times=3)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert body.startswith(COMMENT * 3)


async def test_the_first_comment_comes_as_soon_as_the_provider_has_been_silent_for_too_long(
    process: ProviderProcess,
) -> None:
    async with running(process, stream_grace_seconds=0.02, keep_alive_seconds=600) as patient:
        member = Member(patient, await patient.add_tenant())
        async with asking(member, TENANT, model="hang", stream=True) as wire:
            await wire.read_head()
            body = await wire.read_until(COMMENT)

    assert body == COMMENT


async def test_comments_stand_before_frames_and_never_inside_one(member: Member) -> None:
    stream = await member.stream(TENANT, model="words-n3-i100")

    assert stream.text() == "w0 w1 w2"
    assert stream.is_done
    assert sum(frame.comments for frame in stream.frames) > 0


async def test_a_provider_that_speaks_up_at_once_needs_no_comments(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant())

    stream = await member.stream(TENANT)

    assert sum(frame.comments for frame in stream.frames) == 0


async def test_a_failure_behind_a_comment_is_an_error_in_the_stream(member: Member) -> None:
    async with asking(member, TENANT, model="hang", stream=True) as wire:
        head = await wire.read_head()
        body = await wire.read_all()

    frames = read_frames(body)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert [frame.json["error"]["code"] for frame in frames] == ["upstream_timeout"]
    assert b"[DONE]" not in body


async def test_a_failure_within_the_grace_is_an_http_error(member: Member) -> None:
    # One that is not tried again: the pause before that could outlast the grace.
    answer = await member.post(TENANT, stream=True, model="status-401")

    assert told(answer, TENANT).status == 502


async def test_openais_own_client_reads_past_the_comments(member: Member) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{member.replica.origin}/scripted/v1", api_key=member.token, max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="words-n3-i100", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "w0 w1 w2"


async def test_a_resumed_stream_is_kept_alive_too(member: Member) -> None:
    async with asking(member, PROVIDER, model="stall-n2", stream=True) as wire:
        head = await wire.read_head()
        await wire.read_until(b"w1")
        run_id = head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()
        url = f"{member.replica.origin}{PROVIDER.path(member.tenant)}/{run_id}?stream=true&starting_after=3"
        async with member.replica.client.stream("GET", url, headers=member.headers(PROVIDER)) as answer:
            first = await anext(answer.aiter_bytes())

    assert first.startswith(COMMENT)
