"""One streamed answer: which chunks come out, and whether it may end."""

from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.stream import StreamedAnswer, folded
from domain.chat import Chunk, Usage
from domain.errors import ProviderBadResponse, ProviderError, ProviderTruncated
from tests.adapters.openai.calls import a_call, choice_of, event_of, streamed, text_of

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
SAID = event_of(choice_of({"role": "assistant", "content": "hello"}))
FINISHED = event_of(choice_of(finish="stop"))
USED = event_of(usage=USAGE)
DONE = b"[DONE]"


def a_stream(*pieces: bytes, limit: int = 1000) -> tuple[StreamedAnswer, list[Chunk]]:
    """An answer that has been fed all pieces, as far as it wanted them, and the chunks that came of them."""
    answer = StreamedAnswer(a_call(), limit)
    chunks: list[Chunk] = []
    for piece in pieces:
        if not answer.is_over:
            chunks += answer.feed(piece)
    return answer, chunks


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([SAID, FINISHED, USED, DONE], id="as OpenAI ends"),
        pytest.param([SAID, FINISHED, DONE], id="without usage"),
        pytest.param([SAID, FINISHED], id="without [DONE]"),
        pytest.param([SAID, DONE], id="without a finish reason"),
        pytest.param([SAID, FINISHED, b" [DONE] "], id="with white space around [DONE]"),
        pytest.param([b"", SAID, b" ", FINISHED], id="with empty events"),
    ],
)
def test_an_answer_may_end_in_several_ways(events: list[bytes]) -> None:
    answer, chunks = a_stream(streamed(*events))

    answer.conclude()

    assert text_of(chunks) == "hello"


@pytest.mark.parametrize(
    "events", [[SAID], [SAID, USED], [SAID, FINISHED, event_of(choice_of({"content": "x"}, index=1))]]
)
def test_an_answer_that_stops_in_the_middle_is_truncated(events: list[bytes]) -> None:
    answer, _ = a_stream(streamed(*events))

    with pytest.raises(ProviderTruncated):
        answer.conclude()


@pytest.mark.parametrize("stream", [b"", b": comment\n\n", streamed(DONE), streamed(USED, DONE), b"garbage\xff\x00"])
def test_an_answer_without_choices_is_none(stream: bytes) -> None:
    answer, _ = a_stream(stream)

    with pytest.raises(ProviderBadResponse):
        answer.conclude()


def test_nothing_is_read_beyond_the_end() -> None:
    answer, chunks = a_stream(streamed(SAID, FINISHED, DONE, b"malformed", SAID))

    answer.conclude()

    assert answer.is_done
    assert text_of(chunks) == "hello"


@pytest.mark.parametrize(
    "mistake", [b'{"id": "chatcmpl', orjson.dumps({"error": {"message": "No.", "type": "server_error"}}), b"x" * 1001]
)
def test_what_came_before_a_mistake_is_given_out_before_it_is_raised(mistake: bytes) -> None:
    answer, chunks = a_stream(streamed(SAID, SAID), streamed(SAID, mistake, SAID))

    assert answer.is_over
    assert text_of(chunks).startswith("hellohello")
    with pytest.raises(ProviderError):
        answer.conclude()


def test_comments_are_no_events() -> None:
    answer, _ = a_stream(b": ping\n\n", b"data:\n\n", streamed(SAID))

    assert answer.events == 1


@given(st.lists(st.integers(1, 1500)))
def test_the_same_chunks_come_however_the_bytes_are_cut(cuts: Iterable[int]) -> None:
    calls = [{"id": "call_a", "function": {"name": "weather", "arguments": "{"}}]
    texts = [choice_of({"content": text}) for text in ("", 'data: {"x"}\n\ndata: [DONE]\n\n', "\u2028é🌍", "\r\n")]
    whole = streamed(*map(event_of, texts), event_of(choice_of({"tool_calls": calls})), FINISHED, USED, DONE)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})

    _, uncut = a_stream(whole)
    answer, chunks = a_stream(*(whole[start:end] for start, end in zip(places, [*places[1:], None], strict=True)))

    answer.conclude()
    assert chunks == uncut


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_it_does_not_matter_at_which_byte_a_stream_is_cut(end: bytes) -> None:
    events = [event_of(choice_of({"content": text})) for text in ("one", "\u2028", 'a "word"', "é🌍")]
    whole = b"\xef\xbb\xbf: ping\n\n" + streamed(SAID, *events, FINISHED, USED, DONE)
    whole = whole.replace(b"\n", end)

    _, uncut = a_stream(whole)

    assert text_of(uncut) == 'helloone\u2028a "word"é🌍'
    for at in range(len(whole)):
        answer, chunks = a_stream(whole[:at], whole[at:])
        answer.conclude()
        assert chunks == uncut


# --- a stream in the place of a whole answer ----------------------------------------------------------------------


def test_a_stream_that_nobody_asked_for_becomes_a_whole_answer() -> None:
    opened = {"tool_calls": [{"index": 0, "id": "call_a", "function": {"name": "weather", "arguments": "{"}}]}
    went_on = {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}

    events = [*map(event_of, map(choice_of, (opened, went_on))), event_of(choice_of(finish="tool_calls")), USED, DONE]
    completion = folded(streamed(*events), a_call())

    assert completion.choices == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert completion.usage == Usage(5, 7)


def test_it_says_why_it_ended_even_where_the_stream_did_not() -> None:
    assert folded(streamed(SAID, DONE), a_call()).choices[0]["finish_reason"] == "stop"


def test_it_is_refused_where_it_is_not_whole() -> None:
    with pytest.raises(ProviderTruncated):
        folded(streamed(SAID), a_call())


# --- events that cannot be read -----------------------------------------------------------------------------------

HALF = b'{"id": "chatcmpl'


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([b"ping", SAID, b"PROCESSING", FINISHED, USED, DONE], id="words"),
        pytest.param([SAID, b"null", b"[]", b"7", FINISHED, USED, DONE], id="JSON that is nothing"),
        pytest.param([SAID, FINISHED, HALF, b'"x', USED, DONE], id="behind the end of the text"),
    ],
)
def test_an_event_that_cannot_be_read_is_skipped_where_no_text_can_be_lost(events: list[bytes]) -> None:
    answer, chunks = a_stream(streamed(*events))

    answer.conclude()

    readable = {SAID, FINISHED, USED, DONE}
    assert text_of(chunks) == "hello"
    assert chunks[-1].usage == Usage(5, 7)
    assert (answer.events, answer.skipped) == (4, len([event for event in events if event not in readable]))


@pytest.mark.parametrize("event", [HALF, b'lo"}}]}', b'"a text"', b'["a"]', b"x}"])
def test_an_event_that_may_have_held_text_ends_the_stream(event: bytes) -> None:
    answer, chunks = a_stream(streamed(SAID, event, SAID, FINISHED, DONE))

    assert text_of(chunks) == "hello"
    with pytest.raises(ProviderBadResponse):
        answer.conclude()


def test_a_choice_that_is_still_to_come_may_lose_its_text() -> None:
    answer = StreamedAnswer(a_call(n=2))
    answer.feed(streamed(SAID, FINISHED, HALF))

    with pytest.raises(ProviderBadResponse):
        answer.conclude()
