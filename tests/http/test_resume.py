"""A stream read again from any place in it: exactly the rest, byte for byte."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.runs import LogSlice
from tests.http.frames import Stream, read_frames
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.strict import require_chunk
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

WORDS = {"model": "words-n4", "stream_options": {"include_usage": True}}


async def resume(member: Member, surface: Surface, run_id: str, after: object = None, **headers: str) -> httpx.Response:
    query = {} if after is None else {"starting_after": str(after)}
    return await member.fetch(surface, run_id, headers=headers, stream="true", **query)


def rest(stream: Stream, number: int) -> bytes:
    """The frames behind this number, as they were; only the very first one has a line that says when to come back."""
    wire = b"".join(frame.wire for frame in stream.frames if frame.number > number)
    return wire.removeprefix(b"retry: 2000\n")


# --- runs that have ended ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_after_every_event_the_rest_is_exact(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, **WORDS)
    numbers = [0, *(frame.number for frame in stream.frames)]

    for number in numbers[:-1]:
        by_number = await resume(member, surface, stream.run_id, number)
        by_id = await resume(member, surface, stream.run_id, **{"Last-Event-ID": f"{stream.run_id}:1-{number}"})

        assert by_number.content.removeprefix(b"retry: 2000\n") == rest(stream, number)
        assert by_id.content == by_number.content
        assert by_number.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_behind_the_last_event_there_is_nothing_to_come_back_for(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, **WORDS)

    answer = await resume(member, surface, stream.run_id, stream.frames[-1].number)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("after", [None, 0, "", "{run}:1-0"])
async def test_from_the_start_everything_comes_again(member: Member, after: object) -> None:
    stream = await member.stream(TENANT, **WORDS)
    place = after.format(run=stream.run_id) if isinstance(after, str) else after

    answer = await resume(member, TENANT, stream.run_id, place)

    assert answer.content == stream.response.content


async def test_a_cursor_may_be_given_twice_if_it_is_the_same(member: Member) -> None:
    stream = await member.stream(TENANT, **WORDS)

    answer = await resume(member, TENANT, stream.run_id, 3, **{"Last-Event-ID": f"{stream.run_id}:1-3"})

    assert answer.content.removeprefix(b"retry: 2000\n") == rest(stream, 3)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_resumed_stream_has_the_headers_of_the_first(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, **WORDS)

    again = await resume(member, surface, stream.run_id, 2)

    for name in ("content-type", "cache-control", "connection", "x-accel-buffering", "x-completion-id",
                 "x-sluice-provider", "content-location"):  # fmt: skip
        assert again.headers[name] == stream.headers[name]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_failed_stream_ends_the_same_way_again(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, model="cut-mid-n2")

    for number in (0, 2, stream.frames[-2].number):
        again = await resume(member, surface, stream.run_id, number)
        assert again.content.removeprefix(b"retry: 2000\n") == rest(stream, number)

    assert (await resume(member, surface, stream.run_id, stream.frames[-1].number)).status_code == 204


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_an_answer_that_came_whole_can_be_had_as_a_stream(member: Member, surface: Surface) -> None:
    whole = await member.post(surface, n=2)

    stream = read_frames((await resume(member, surface, whole.headers["x-completion-id"])).content)

    *chunks, done = stream
    assert done.data == "[DONE]"
    for frame in chunks:
        require_chunk(frame.json, closed=not surface.keeps_extras)
        assert frame.json["id"] == whole.json()["id"]
    said = [frame.json["choices"][0]["delta"].get("content", "") for frame in chunks]
    assert [text for text in said if text] == ["Hello, who are you?"] * 2


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_an_answer_that_came_whole_has_the_same_places_each_time(member: Member, surface: Surface) -> None:
    whole = await member.post(surface, n=2, model="tools")
    run_id = whole.headers["x-completion-id"]
    frames = read_frames((await resume(member, surface, run_id)).content)

    for number, frame in enumerate(frames[:-1], start=1):
        again = read_frames((await resume(member, surface, run_id, frame.number)).content)
        assert [frame.data for frame in again] == [frame.data for frame in frames[number:]]


# --- runs that are under way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_reader_that_left_in_mid_stream_sees_only_what_it_missed(member: Member, surface: Surface) -> None:
    async with asking(member, surface, model="words-n6-i20", stream=True) as wire:
        head = await wire.read_head()
        await wire.read_until(b"w1 ")
        wire.leave()
    seen = read_frames(wire.body)
    run_id = head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()

    rest_of_it = read_frames((await resume(member, surface, run_id, **{"Last-Event-ID": seen[-1].id})).content)

    frames = [*seen, *rest_of_it]
    assert [frame.number for frame in frames[:-1]] == list(range(1, len(frames)))
    texts = [frame.json["choices"][0]["delta"].get("content", "") for frame in frames[:-1]]
    assert "".join(texts) == "w0 w1 w2 w3 w4 w5"
    assert frames[-1].data == "[DONE]"


async def test_a_second_reader_sees_the_very_same_stream(member: Member) -> None:
    async with asking(member, TENANT, model="words-n4-i20", stream=True) as wire:
        head = await wire.read_head()
        run_id = head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()
        second = await resume(member, TENANT, run_id)
        first = await wire.read_all()

    assert second.content == first


async def test_a_job_can_be_watched_while_it_runs(member: Member) -> None:
    job = await member.post(GROUP, model="words-n4-i20")

    frames = read_frames((await resume(member, GROUP, job.json()["id"])).content)

    texts = [frame.json["choices"][0]["delta"].get("content", "") for frame in frames[:-1]]
    assert "".join(texts) == "w0 w1 w2 w3"


# --- cursors that are none --------------------------------------------------------------------------------------------

OTHER_RUN = "chatcmpl-01JXW3DR0000000000000000G0"
MALFORMED = (
    "-1", "1.5", "abc", "1 2", "0x1", "1" * 16, "1-1", ":1-1", "{run}", "{run}:", "{run}:1", "{run}:1-", "{run}:-1",
    "{run}:1-1-1", "{run}:1-1 ", OTHER_RUN + ":1-1", "{run}:1-99999999999999999999", "\u0661", "[DONE]",
)  # fmt: skip


@pytest.mark.parametrize("cursor", MALFORMED)
@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_cursor_that_is_not_one_of_this_stream_is_invalid(
    member: Member, surface: Surface, cursor: str
) -> None:
    stream = await member.stream(surface)

    answer = await resume(member, surface, stream.run_id, cursor.format(run=stream.run_id))

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (400, "invalid_cursor", "The cursor is not one of this stream.")
    assert error.param in (None, "starting_after")


async def test_the_provider_surface_tells_an_invalid_cursor_as_the_others_do(member: Member) -> None:
    stream = await member.stream(PROVIDER)

    answer = await resume(member, PROVIDER, stream.run_id, "abc")

    assert as_openai(answer).status == 400
    assert as_openai(answer).code == "invalid_cursor"


async def test_two_cursors_that_disagree_are_invalid(member: Member) -> None:
    stream = await member.stream(TENANT)

    answer = await resume(member, TENANT, stream.run_id, 1, **{"Last-Event-ID": "2"})

    message = "Last-Event-ID and starting_after disagree."
    assert as_openai(answer) == Told(400, "invalid_cursor", message, "invalid_request_error", "starting_after")


@pytest.mark.parametrize(
    ("cursor", "code"),
    [
        ("{run}:0-1", "generation_restarted"),
        ("{run}:2-1", "cursor_ahead"),
        ("{end}", "cursor_ahead"),
        ("{run}:1-{end}", "cursor_ahead"),
        ("999999999999999", "cursor_ahead"),
    ],
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cursor_that_the_stream_has_left_or_not_reached_is_a_conflict(
    member: Member, surface: Surface, cursor: str, code: str
) -> None:
    stream = await member.stream(surface)
    place = cursor.format(run=stream.run_id, end=stream.frames[-1].number + 1)

    answer = await resume(member, surface, stream.run_id, place)

    error = told(answer, surface)
    assert (error.status, error.code) == (409, code)


async def test_a_log_that_is_no_longer_kept_is_gone_and_its_result_is_not(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await member.stream(TENANT)
    store: Any = member.replica.container.run_store()

    async def forget(run_id: str, after: int, limit: int = 1000) -> LogSlice:
        return LogSlice(await store.get(run_id))

    monkeypatch.setattr(store, "read", forget)

    answer = await resume(member, TENANT, stream.run_id, 1)
    state = await member.fetch(TENANT, stream.run_id)

    message = "The stream is no longer kept; the result may be."
    assert as_openai(answer) == Told(410, "stream_expired", message, "invalid_request_error")
    assert state.json()["status"] == "completed"


@pytest.fixture(scope="module")
async def brief(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that gives a provider little time."""
    async with running(process, first_byte_seconds=0.3, idle_seconds=0.3) as started:
        yield started


async def test_a_run_that_failed_before_it_spoke_has_a_stream_of_one_error(brief: Replica) -> None:
    member = Member(brief, await brief.add_tenant())
    failed = await member.post(TENANT, model="status-503", stream=True)

    answer = await resume(member, TENANT, failed.headers["x-completion-id"])

    # Nobody has had a byte of it, now as then.
    assert as_openai(answer).code == as_openai(failed).code
