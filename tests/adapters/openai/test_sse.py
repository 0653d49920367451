"""Server-sent events, by the letter of the standard and however the bytes are cut."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.sse import EventParser, EventTooLarge


def parsed(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def by_the_letter(stream: bytes) -> list[bytes]:
    """The standard's algorithm, on a whole stream and without any thought of speed."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    events: list[bytes] = []
    buffer = b""
    for line in lines[:-1]:
        field, _, value = line.partition(b":")
        if not line and buffer:
            events.append(buffer[:-1])
            buffer = b""
        elif field == b"data":
            buffer += value.removeprefix(b" ") + b"\n"
    return events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_of_the_three_line_ends_ends_a_line(end: bytes) -> None:
    assert parsed(end.join([b"data: a", b"", b"data: b", b"", b""])) == [b"a", b"b"]


def test_the_line_ends_may_be_mixed() -> None:
    assert parsed(b"data: a\r\n\ndata: b\r\rdata: c\n\r\n") == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"]),
        (b"data:\n\n", [b""]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf\ndata: a\n\n", [b"a"]),
        (b": comment\n\ndata: a\n\n", [b"a"]),
        (b"id: 1\nevent: message\nretry: 5\ndata: a\nunknown: x\n\n", [b"a"]),
        (b"database: a\ndatum\n\n", []),
        (b" data: a\n\n", []),
        (b"event: ping\n\n", []),
        (b"\n\n\n", []),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_fields_are_read_as_the_standard_says(stream: bytes, events: list[bytes]) -> None:
    assert parsed(stream) == events


def test_an_event_that_never_ends_is_none() -> None:
    assert parsed(b"data: a\n\ndata: b\n") == [b"a"]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    assert parsed(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_an_event_is_there_as_soon_as_its_last_cr_is() -> None:
    parser = EventParser()

    first, second = parser.feed(b"data: a\r\n\r"), parser.feed(b"\ndata: b\n\n")

    assert (first, second) == ([b"a"], [b"b"])


def test_a_crlf_that_is_cut_in_two_is_still_one_line_end() -> None:
    assert parsed(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


def test_separators_of_other_standards_end_no_line() -> None:
    text = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven".encode()

    assert parsed(b"data: " + text + b"\n\n") == [text]


@given(
    st.lists(
        st.sampled_from(
            [
                b"data",
                b"data:",
                b"data: ",
                b"x",
                b"\n",
                b"\r",
                b"\r\n",
                b": c",
                b"id: 1",
                "\u2028é".encode(),
                b"\xef\xbb\xbf",
            ]
        ),
        max_size=40,
    ),
    st.lists(st.integers(0, 120)),
)
def test_any_stream_cut_anywhere_gives_the_standards_events(fields: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(fields)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    cut = parsed(*(stream[start:end] for start, end in pairwise(places)))
    in_bytes = parsed(*(stream[at : at + 1] for at in range(len(stream))))

    # A CR at the very end has ended its line already; to the reference it may still become a CRLF.
    assert cut == in_bytes == by_the_letter(stream if not stream.endswith(b"\r") else stream + b"\n")


def test_single_bytes_cost_no_more_than_their_number() -> None:
    def seconds(size: int) -> float:
        stream = b"data: " + b"x" * size + b"\n\n"
        began = time.perf_counter()
        assert len(parsed(*(stream[at : at + 1] for at in range(len(stream))))) == 1
        return time.perf_counter() - began

    small = min(seconds(20_000) for _ in range(3))
    large = min(seconds(200_000) for _ in range(3))

    assert large < 40 * small


@pytest.mark.parametrize(
    "endless", [b"data: " + b"x" * 100, b": " + b"x" * 100, b"data: " + b"x" * 20 + b"\n", b"data\n"]
)
def test_what_never_ends_is_given_up_at_the_limit(endless: bytes) -> None:
    parser = EventParser(limit=1000)

    with pytest.raises(EventTooLarge):
        list(map(parser.feed, [endless] * 1001))


def test_events_up_to_the_limit_pass_and_leave_no_trace() -> None:
    parser = EventParser(limit=1000)

    events = [event for _ in range(50) for event in parser.feed(b"data: " + b"x" * 900 + b"\n\n")]

    assert len(events) == 50
