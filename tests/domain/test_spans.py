"""Spans: a caller's header is followed where it is one, and what is derived is the same everywhere."""

import pytest

from domain.spans import Span, Tracing, span_of

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{CALLER}-01", True),
        (f"00-{TRACE}-{CALLER}-00", False),
        (f"00-{TRACE}-{CALLER}-03", True),
        (f"cc-{TRACE}-{CALLER}-01-what-comes-later", True),
    ],
)
def test_a_header_names_the_callers_span(header: str, sampled: bool) -> None:
    assert span_of(header) == Span(TRACE, CALLER, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{CALLER}",
        f"00-{TRACE}-{CALLER}-01-more",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}-1",
        f" 00-{TRACE}-{CALLER}-01",
    ],
)
def test_any_other_header_names_none(header: str | None) -> None:
    assert span_of(header) is None


def test_a_span_goes_out_as_the_header_that_it_is_read_from() -> None:
    span = Span(TRACE, CALLER, sampled=True)

    assert span_of(span.traceparent) == span


def test_a_child_is_the_same_for_whoever_derives_it_and_another_for_another_name() -> None:
    span = Span(TRACE, CALLER, sampled=True)

    assert span.child("run", "1") == span.child("run", "1")
    assert span.child("run", "1").parent_id == CALLER
    assert len({span.child(*names).id for names in (("run", "1"), ("run", "2"), ("run1",), ())}) == 4


def test_a_caller_who_has_decided_is_followed() -> None:
    tracing = Tracing(lambda count: b"\xab" * count, share=0.0)

    span = tracing.begin(f"00-{TRACE}-{CALLER}-01")

    assert span == Span(TRACE, "ab" * 8, sampled=True, parent_id=CALLER)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, False, False), (0.5, True, False), (1.0, True, True)])
def test_of_traces_that_begin_here_a_share_is_sampled(share: float, low: bool, high: bool) -> None:
    lowest = Tracing(lambda count: b"\x01" * count, share).begin(None)
    highest = Tracing(lambda count: b"\xff" * count, share).begin(None)

    assert (lowest.sampled, highest.sampled) == (low, high)
    assert lowest.parent_id is None
