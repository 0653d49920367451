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


@pytest.mark.parametrize("noise", [b"{", b"[]", b"garbage", b'{"choices": 7}'])
def test_a_malformed_event_behind_the_whole_answer_is_skipped_and_counted(noise: bytes) -> None:
    answer, chunks = a_stream(streamed(SAID, FINISHED, noise, USED, noise, DONE))

    answer.conclude()

    assert (text_of(chunks), answer.skipped) == ("hello", 2)
    assert chunks[-1].usage == Usage(5, 7)


@pytest.mark.parametrize("noise", [b"{", b"[]", b"garbage"])
def test_a_malformed_event_that_may_have_held_text_is_a_cut(noise: bytes) -> None:
    answer, chunks = a_stream(streamed(SAID, noise, FINISHED, DONE))

    with pytest.raises(ProviderBadResponse):
        answer.conclude()

    assert (text_of(chunks), answer.skipped) == ("hello", 0)


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
