"""The decoder of chunked bodies as a pure thing: what it takes, to the byte, and whatever it is given in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.http.chunks import Chunks, too_large
from entrypoints.http.errors import HttpRefusal

CAP = 100
BEHIND = b"GET / HTTP/1.1\r\n"


def chunked(*pieces: bytes, size: str = "%x") -> bytes:
    return b"".join((size % len(piece)).encode() + b"\r\n" + piece + b"\r\n" for piece in (*pieces, b""))


def taken(*parts: bytes, cap: int = CAP) -> tuple[bool, bytes, bytes]:
    """Whether it was complete, the body, and what was left behind it, when the parts have come one by one."""
    chunks, buffer, complete = Chunks(cap), bytearray(), False
    for part in parts:
        buffer += part
        complete = chunks.take(buffer)
    return complete, bytes(chunks.body), bytes(buffer)


def refusal(*parts: bytes, cap: int = CAP) -> tuple[int, str]:
    with pytest.raises(HttpRefusal) as caught:
        taken(*parts, cap=cap)
    return caught.value.status, caught.value.message.removeprefix("The request is malformed: ")


@given(
    st.lists(st.binary(min_size=1, max_size=9), max_size=9), st.sampled_from(["%x", "%X", "%04x", "%08X"]), st.data()
)
def test_a_body_is_the_same_however_it_comes(pieces: list[bytes], size: str, data: st.DataObject) -> None:
    wire = chunked(*pieces, size=size) + BEHIND
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=9)))

    parts = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    assert taken(*parts) == (True, b"".join(pieces), BEHIND)


def test_byte_by_byte_nothing_is_complete_before_its_end() -> None:
    wire = chunked(b"hello", b"0123456789abcdef")

    for end in range(len(wire)):
        assert not taken(*(wire[at : at + 1] for at in range(end)), b"")[0]
    assert taken(*(wire[at : at + 1] for at in range(len(wire)))) == (True, b"hello0123456789abcdef", b"")


def test_what_it_has_taken_is_no_longer_in_the_buffer() -> None:
    assert taken(b"5\r\nhel") == (False, b"hel", b"")
    assert taken(b"5\r\nhello\r\n3") == (False, b"hello", b"3")
    assert taken(b"5\r\nhello\r\n0\r\n\r") == (False, b"hello", b"\r")


def test_once_complete_it_takes_no_more() -> None:
    chunks, buffer = Chunks(CAP), bytearray(chunked(b"hello") + chunked(b"again"))

    assert chunks.take(buffer)
    assert chunks.take(buffer)
    assert (bytes(chunks.body), bytes(buffer)) == (b"hello", chunked(b"again"))


def test_its_cap_is_exact() -> None:
    assert taken(chunked(b"x" * 60, b"x" * 40))[1] == b"x" * 100
    assert refusal(chunked(b"x" * 60, b"x" * 41)) == (413, "The body of your request is larger than 100 bytes.")
    # As soon as it is said, before it has come.
    assert refusal(b"65\r\n")[0] == 413
    assert refusal(b"ffffffff\r\n")[0] == 413
    assert (too_large(7).status, too_large(7).code) == (413, "payload_too_large")


SIZE = (400, "a chunk of its body does not begin with a size.")
LONGER = (400, "a chunk of its body is longer than it says.")
TRAILERS = (400, "its body has trailers.")


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        *((size + b"\r\nhello\r\n", SIZE) for size in (b"0x5", b" 5", b"5 ", b"5;a", b"", b"-5", b"+5", b"g")),
        (b"000000005\r\nhello\r\n", SIZE),
        (b"5\nhello\r\n", SIZE),
        (b"5\rhello\r\n", SIZE),
        (b"\r5\r\n", SIZE),
        (b"123456789", SIZE),
        (b"12345678\r", None),
        (b"12345678\rx", SIZE),
        (b"x", SIZE),
        (b"5 ", SIZE),
        (b"5\r\nhelloX", LONGER),
        (b"5\r\nhello\rX", LONGER),
        (b"5\r\nhello\n", LONGER),
        (b"0\r\nX", TRAILERS),
        (b"0\r\n\rX", TRAILERS),
        (b"0\r\nX: a\r\n\r\n", TRAILERS),
    ],
)  # fmt: skip
def test_what_is_not_as_it_has_to_be_is_refused_at_once(wire: bytes, told: tuple[int, str] | None) -> None:
    if told is None:
        assert not taken(wire)[0]
    else:
        assert refusal(wire) == told


def test_many_chunks_have_to_be_worth_their_while() -> None:
    crumbs = b"1\r\nx\r\n"

    assert not taken(crumbs * 1_000, cap=10_000)[0]
    # A thousand are free, and one more for each 64 bytes: those thousand crumbs have brought fifteen.
    assert not taken(crumbs * 1_015, cap=10_000)[0]
    assert refusal(crumbs * 1_017, cap=10_000) == (400, "its body comes in too many chunks.")
    assert not taken(chunked(b"x" * 640)[:-5] + crumbs * 1_020, cap=10_000)[0]
