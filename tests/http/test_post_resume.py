"""A POST that names the place where its stream broke off: exactly the rest, and never a second generation."""

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import InvalidCursor
from domain.runs import parse_cursor, run_of_cursor
from tests.http.frames import Stream, read_frames
from tests.http.log import Log
from tests.http.member import JSON, Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.test_resume import MALFORMED, OTHER_RUN, rest
from tests.http.told import told
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

WORDS: dict[str, Any] = {"model": "words-n4", "stream": True, "stream_options": {"include_usage": True}}


#: What a header can carry as it stands.
SENDABLE = [each for each in MALFORMED if each.isascii() and each == each.strip()]


async def resume(member: Member, surface: Surface, cursor: str, **fields: Any) -> httpx.Response:
    """The same request again, from behind a place on."""
    return await member.post(surface, headers={"Last-Event-ID": cursor}, **(fields or WORDS))


async def streamed(member: Member, surface: Surface, **fields: Any) -> Stream:
    return await member.stream(surface, **{key: value for key, value in (fields or WORDS).items() if key != "stream"})


def body_of(answer: httpx.Response) -> bytes:
    """What came, without the line that says when to come back: each response has one in front of its first event."""
    return answer.content.removeprefix(b"retry: 2000\n")


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_after_every_event_the_rest_is_exact_and_nothing_is_asked_twice(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    stream = await streamed(member, surface)
    left = await member.replica.available(member.tenant)

    for frame in stream.frames[:-1]:
        answer = await resume(member, surface, frame.id)

        assert body_of(answer) == rest(stream, frame.number)
        assert answer.headers["content-type"] == "text/event-stream"
        for name in ("x-completion-id", "content-location", "x-sluice-provider", "cache-control"):
            assert answer.headers[name] == stream.headers[name]

    assert len(provider.requests()) == 1
    assert await member.replica.available(member.tenant) == left


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_under_way_goes_on_where_it_broke_off(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    async with asking(member, surface, model="words-n6-i20", stream=True) as wire:
        await wire.read_head()
        await wire.read_until(b"w1 ")
        wire.leave()
    seen = read_frames(wire.body)

    answer = await resume(member, surface, seen[-1].id, model="words-n6-i20", stream=True)

    frames = [*seen, *read_frames(answer.content)]
    assert [frame.number for frame in frames[:-1]] == list(range(1, len(frames)))
    texts = [frame.json["choices"][0]["delta"].get("content", "") for frame in frames[:-1]]
    assert "".join(texts) == "w0 w1 w2 w3 w4 w5"
    assert frames[-1].data == "[DONE]"
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_from_the_start_everything_comes_again(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, f"{stream.run_id}:1-0")

    assert answer.content == stream.response.content
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_behind_the_last_event_there_is_nothing_to_come_back_for(member: Member, surface: Surface) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, stream.frames[-1].id)

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("given_id", ["", "0"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_who_has_seen_nothing_begins(
    member: Member, provider: ProviderProcess, surface: Surface, given_id: str
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, given_id)

    assert answer.headers["x-completion-id"] != stream.run_id
    assert len(provider.requests()) == 2


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_failed_stream_is_not_begun_again(member: Member, provider: ProviderProcess, surface: Surface) -> None:
    fields: dict[str, Any] = {"model": "cut-mid-n2", "stream": True}
    stream = await streamed(member, surface, **fields)
    asked = len(provider.requests())

    answer = await resume(member, surface, stream.frames[1].id, **fields)

    assert body_of(answer) == rest(stream, 2)
    assert read_frames(answer.content)[-1].json["error"]["code"] == "upstream_truncated"
    assert len(provider.requests()) == asked


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_view_of_a_shared_answer_goes_on_as_a_view(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    fields = {**WORDS, "cache_key": "k"}
    await streamed(member, surface, **fields)
    hit = await streamed(member, surface, **fields)

    answer = await resume(member, surface, hit.frames[1].id, **fields)

    assert hit.headers["x-cache"] == "hit"
    assert body_of(answer) == rest(hit, 2)
    assert answer.headers["x-completion-id"] == hit.run_id
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_order_and_spacing_of_the_body_do_not_matter(member: Member, surface: Surface) -> None:
    stream = await streamed(member, surface)
    body = dict(reversed(member.body(surface, **WORDS).items()))
    content = orjson.dumps(body, option=orjson.OPT_INDENT_2)

    answer = await member.send(surface, content, headers={"Last-Event-ID": stream.frames[0].id})

    assert body_of(answer) == rest(stream, 1)


async def test_nobody_resumes_their_stream_as_nobody(replica: Replica, member: Member) -> None:
    headers = {"X-Tenant-Id": member.tenant, **JSON}
    body = member.body(GROUP, group_id="anonymous", **WORDS)
    first = await replica.client.post("/v1/chat/completions", json=body, headers=headers)
    frames = read_frames(first.content)

    again = await replica.client.post(
        "/v1/chat/completions", json=body, headers={**headers, "Last-Event-ID": frames[0].id}
    )

    assert body_of(again) == b"".join(frame.wire for frame in frames[1:])


async def test_what_is_resumed_takes_nothing_from_meters_or_balance(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(limits={"requests_per_minute": 1}))
    stream = await streamed(member, TENANT)
    member.replica.set_balance(member.tenant, 0)

    answer = await resume(member, TENANT, stream.frames[0].id)

    assert body_of(answer) == rest(stream, 1)


async def test_a_resumed_stream_is_one_access_line_with_its_run(member: Member, json_log: Log) -> None:
    stream = await streamed(member, TENANT)
    await resume(member, TENANT, stream.frames[0].id)

    lines = json_log.of("Request served")
    assert [line["run_id"] for line in lines] == [stream.run_id] * 2
    assert [line["status_code"] for line in lines] == [200] * 2
    assert len(json_log.of("Run completed")) == 1


# --- another body -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": "Something else"}]},
        {"model": "words-n5"},
        {"temperature": 0.1},
        {"stream_options": {"include_usage": False}},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_place_in_the_stream_of_another_request_is_a_mismatch(
    member: Member, provider: ProviderProcess, surface: Surface, changes: dict[str, Any]
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, stream.frames[0].id, **{**WORDS, **changes})

    error = told(answer, surface)
    assert (error.status, error.code) == (422, "stream_mismatch")
    assert error.message == "The stream that Last-Event-ID names answers another request."
    assert error.type in (None, "invalid_request_error")
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_run_that_was_not_asked_for_as_a_stream_is_a_mismatch(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    whole = await member.whole(surface, model="words-n4")

    answer = await resume(member, surface, f"{whole.headers['x-completion-id']}:1-1")

    assert (told(answer, surface).status, told(answer, surface).code) == (422, "stream_mismatch")
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_body_that_is_wrong_is_told_first(member: Member, surface: Surface) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, stream.frames[0].id, stream=True, messages=[])

    assert (told(answer, surface).status, told(answer, surface).code) == (surface.invalid_status, "empty_array")


# --- cursors that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", ["1", "3", "999", "00", *SENDABLE])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_cursor_that_names_no_place_in_a_stream_is_invalid(
    member: Member, provider: ProviderProcess, surface: Surface, cursor: str
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, cursor.format(run=stream.run_id))

    error = told(answer, surface)
    # A cursor of a run that never was is not malformed.
    known = (404, "completion_not_found") if cursor.startswith(OTHER_RUN) else (400, "invalid_cursor")
    assert (error.status, error.code) == known
    assert error.param in (None, "starting_after")
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_place_in_a_stream_and_no_wish_for_one_is_invalid(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, stream.frames[0].id, model="words-n4")

    error = told(answer, surface)
    assert (error.status, error.code) == (400, "invalid_cursor")
    assert error.message == "Last-Event-ID has to name a stream, and the request to ask for one."
    assert len(provider.requests()) == 1


@pytest.mark.parametrize(
    ("place", "code"),
    [("0-1", "generation_restarted"), ("2-1", "cursor_ahead"), ("1-{end}", "cursor_ahead"), ("1-999", "cursor_ahead")],
)
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_place_that_the_stream_has_left_or_not_reached_is_a_conflict(
    member: Member, provider: ProviderProcess, surface: Surface, place: str, code: str
) -> None:
    stream = await streamed(member, surface)

    answer = await resume(member, surface, f"{stream.run_id}:{place.format(end=stream.frames[-1].number + 1)}")

    assert (told(answer, surface).status, told(answer, surface).code) == (409, code)
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_the_name_of_a_conversation_is_no_name_of_a_stream(member: Member, surface: Surface) -> None:
    stream = await streamed(member, surface)
    conversation = "conv-" + stream.run_id.partition("-")[2]

    answer = await resume(member, surface, f"{conversation}:1-1")

    assert (told(answer, surface).status, told(answer, surface).code) == (400, "invalid_cursor")


async def test_two_places_that_disagree_are_invalid(member: Member) -> None:
    stream = await streamed(member, TENANT)
    body = orjson.dumps(member.body(TENANT, **WORDS))

    answer = await member.replica.client.post(
        TENANT.path(member.tenant),
        content=body,
        params={"starting_after": "2"},
        headers={**JSON, **member.headers(TENANT), "Last-Event-ID": stream.frames[0].id},
    )

    assert told(answer, TENANT).message == "Last-Event-ID and starting_after disagree."


#: Text made of what cursors are made of, and of anything else.
_PIECES = st.sampled_from(
    [OTHER_RUN, OTHER_RUN.lower(), ":", "-", "1", "0", "9" * 20, " ", "\u0661", "job-", "\n", "+1"]
)
_CURSORS = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=8).map("".join))


@given(_CURSORS)
def test_whatever_is_sent_is_a_cursor_or_invalid(text: str) -> None:
    try:
        cursor, run_id = parse_cursor(text, OTHER_RUN), run_of_cursor(text)
    except InvalidCursor:
        return

    assert run_id in (None, OTHER_RUN)
    assert text.isascii()
    assert str(cursor.seq) == text.rpartition("-")[2].lstrip("0") or not cursor.seq
    assert (cursor.attempt is None) == (run_id is None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_CURSORS.map(lambda text: text.encode("utf-8", "ignore")))
async def test_whatever_is_sent_never_begins_a_second_generation(
    member: Member, provider: ProviderProcess, text: bytes
) -> None:
    value = bytes(byte for byte in text.strip() if byte >= 0x20 and byte != 0x7F).strip()
    if value in (b"", b"0"):
        # Who says that they have seen nothing begins.
        return
    provider.reset()
    headers = [(name.encode(), content.encode()) for name, content in (JSON | member.headers(TENANT)).items()]

    answer = await member.replica.client.post(
        TENANT.path(member.tenant),
        content=orjson.dumps(member.body(TENANT, **WORDS)),
        headers=[*headers, (b"Last-Event-ID", value)],
    )

    assert (answer.status_code, answer.headers["x-error-code"]) in (
        (400, "invalid_cursor"),
        (404, "completion_not_found"),
        *(((400, "bad_request"),) if not value.isascii() else ()),
    )
    assert provider.requests() == []
