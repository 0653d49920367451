"""The head of a request as a pure function: what is taken from a good one, and the bounds to the byte."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.http.errors import HttpRefusal
from entrypoints.http.head import Framing, Head, HeadBounds, path_of_refused, read_head, require_promising

BOUNDS = HeadBounds(head_bytes=400, url_bytes=40, header_bytes=60, headers=5)
HOST = "Host: a"


def head(*lines: str, line: str = "POST /a/v1/b?c=d HTTP/1.1") -> bytes:
    return "\r\n".join((line, HOST, *lines)).encode("latin-1")


def refusal(raw: bytes) -> tuple[int, str, str]:
    with pytest.raises(HttpRefusal) as caught:
        read_head(raw, BOUNDS)
    return caught.value.status, caught.value.code, caught.value.message


def malformed(what: str) -> tuple[int, str, str]:
    return 400, "bad_request", f"The request is malformed: {what}."


# --- a good one ---------------------------------------------------------------------------------------------------


def test_a_head_is_taken_apart() -> None:
    given = head("X-Two:  b c\t", "x-one:a", "Content-Length: 17", "Empty:")

    taken = read_head(given, BOUNDS)

    assert (taken.method, taken.target) == ("POST", b"/a/v1/b?c=d")
    assert list(taken.headers.items()) == [
        ("host", "a"), ("x-two", "b c"), ("x-one", "a"), ("content-length", "17"), ("empty", "")
    ]  # fmt: skip
    assert taken[3:] == (17, True, False)


def read(*lines: str) -> Head:
    return read_head(head(*lines), BOUNDS)


def test_a_body_is_framed_by_length_or_chunks_or_is_not_there() -> None:
    assert read().body == 0
    assert read("Content-Length: 0").body == 0
    assert read("Content-Length: 007").body == 7
    assert read("Content-Length: 999999999999999").body == 999_999_999_999_999
    assert read("Transfer-Encoding: chunked").body is Framing.CHUNKED


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([], True),
        (["Connection: keep-alive"], True),
        (["Connection: Keep-Alive, TE"], True),
        (["Connection: x-close"], True),
        (["Connection: close"], False),
        (["Connection: TE,  Close"], False),
        (["Connection: keep-alive", "Connection: close"], False),
        (["Upgrade: h2c"], False),
        (["Connection: keep-alive", "Upgrade: websocket"], False),
    ],
)
def test_the_connection_is_kept_unless_the_client_says_otherwise(lines: Sequence[str], kept: bool) -> None:
    assert read(*lines).keep_alive is kept


def test_what_is_expected_counts_where_there_is_a_body() -> None:
    assert read("Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert read("Expect: 100-continue", "Transfer-Encoding: chunked").expects_continue
    assert not read("Expect: 100-continue").expects_continue
    assert not read("Content-Length: 1").expects_continue
    assert not read("Expect: nonsense").expects_continue
    assert refusal(head("Expect: nonsense", "Content-Length: 1"))[:2] == (417, "expectation_failed")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://a/b?c", b"/b?c"),
        ("HTTPS://a.b:8443/", b"/"),
        ("http://[::1]:80/x", b"/x"),
        ("http://a", b"/"),
        ("http://a?b", b"/?b"),
        ("/http://[", b"/http://["),
        ("//a//b", b"//a//b"),
    ],
)
def test_a_target_is_a_path_or_a_url_whose_path_counts(target: str, path: bytes) -> None:
    assert read_head(head(line=f"GET {target} HTTP/1.1"), BOUNDS).target == path


@pytest.mark.parametrize("host", ["a", "A-b.example_1~", "127.0.0.1:8080", "[::1]", "[2001:db8::7]:65535", "a:0"])
def test_hosts_of_all_kinds_are_taken(host: str) -> None:
    assert read_head(f"GET / HTTP/1.1\r\nHost: {host}".encode(), BOUNDS).headers["host"] == host


# --- bounds -------------------------------------------------------------------------------------------------------


def test_each_bound_is_exact() -> None:
    longest = "/" + "u" * 39
    header = "X: " + "x" * 57

    assert read_head(head(header, line=f"GET {longest} HTTP/1.1"), BOUNDS)
    assert read_head(head(*("A: b",) * 4), BOUNDS)
    assert refusal(head(line=f"GET {longest}u HTTP/1.1")) == (
        414, "url_too_long", "The URL of your request is longer than 40 bytes."
    )  # fmt: skip
    too_large = "The head of your request is too large: "
    assert refusal(head(header + "x")) == (
        431,
        "headers_too_large",
        f"{too_large}one of its headers is longer than 60 bytes.",
    )
    assert refusal(head(*("A: b",) * 5)) == (431, "headers_too_large", f"{too_large}it has more than 5 headers.")


def test_the_bound_of_the_whole_is_exact() -> None:
    small = HeadBounds(head_bytes=len(head()), url_bytes=40, header_bytes=60, headers=5)

    assert read_head(head(), small)
    with pytest.raises(HttpRefusal, match=f"too large: it has more than {len(head())} bytes") as caught:
        read_head(head() + b" ", small)
    assert caught.value.status == 431


def test_a_url_is_too_long_however_the_rest_of_the_line_is() -> None:
    assert refusal(head(line=f"GET /{'u' * 80}"))[0] == 414
    assert refusal(head(line=f"{'G' * 24} /{'u' * 39} HTTP/1.x"))[0] == 400


def test_a_method_is_of_24_letters_at_most() -> None:
    assert read_head(head(line=f"{'M' * 24} / HTTP/1.1"), BOUNDS).method == "M" * 24
    assert refusal(head(line=f"{'M' * 25} / HTTP/1.1")) == malformed("its first line is no request line of HTTP/1.1")


# --- what is wrong, in words --------------------------------------------------------------------------------------

BYTES = malformed("it has bytes that may not stand in a head")
LINE = malformed("its first line is no request line of HTTP/1.1")
TARGET = malformed("its target is no path")
NAME = malformed("it has a header without a proper name")
NO_HOST = malformed("it has no valid Host")
LENGTH = malformed("its Content-Length is no length")
CODING = malformed("its Transfer-Encoding has to be 'chunked', and without a Content-Length")
VERSION = (505, "http_version_not_supported", "Only HTTP/1.1 is spoken here.")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        *((head(f"X: a{chr(code)}b"), BYTES) for code in (*range(9), 10, 11, 12, 13, 31, 127, 128, 255)),
        (head("Authorized: \xff"), BYTES),
        (head("Authorization: \x00"), BYTES),
        (b"\xff" + head(), BYTES),
        (b"", LINE),
        (b"\r\n" + head(), LINE),
        (head(line="get / HTTP/1.1"), LINE),
        (head(line="GET / http/1.1"), LINE),
        (head(line="GET /a#b HTTP/1.1"), LINE),
        (head(line="GET / HTTP/1.1 "), LINE),
        (head(line="GET / HTTP/11"), LINE),
        (head(line="GET / HTTP/1.0"), VERSION),
        (head(line="GET / HTTP/2.1"), VERSION),
        (head(line="GET a HTTP/1.1"), TARGET),
        (head(line="GET * HTTP/1.1"), TARGET),
        (head(line="GET ftp://a/ HTTP/1.1"), TARGET),
        (head(line="GET http:///a HTTP/1.1"), TARGET),
        (head(line="GET http://a:65536/ HTTP/1.1"), TARGET),
        (head("X"), malformed("it has a header without a colon")),
        (head(": a"), NAME),
        (head("X : a"), NAME),
        (head(" X: a"), NAME),
        (head("X\t: a"), NAME),
        (head("X@: a"), NAME),
        (head("X" * 257 + ": a"), (431, "headers_too_large", "")),
        (b"GET / HTTP/1.1", NO_HOST),
        (b"GET / HTTP/1.1\r\nHost:", NO_HOST),
        (b"GET / HTTP/1.1\r\nHost: a:65536", NO_HOST),
        (b"GET / HTTP/1.1\r\nHost: a:123456", NO_HOST),
        (b"GET / HTTP/1.1\r\nHost: [::1", NO_HOST),
        (b"GET / HTTP/1.1\r\nHost: a b", NO_HOST),
        (head("Content-Length: 1234567890123456"), LENGTH),
        (head("Content-Length: -1"), LENGTH),
        (head("Content-Length: 1 1"), LENGTH),
        (head("Transfer-Encoding: chunked", "Content-Length: 1"), CODING),
        (head("Transfer-Encoding: gzip"), CODING),
        *(
            (head(f"{name}: a", f"{name}: a"), malformed(f"it has more than one {name}"))
            for name in ("Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Expect", "Origin",
                         "X-Tenant-Id", "Idempotency-Key", "Last-Event-Id", "Host")
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_wrong_is_told(raw: bytes, told: tuple[int, str, str]) -> None:
    found = refusal(raw)

    assert found[:2] == told[:2]
    assert found[2].startswith(told[2])


def test_a_name_has_256_characters_at_most() -> None:
    roomy = HeadBounds()

    assert read_head(head("X" * 256 + ": a"), roomy)
    with pytest.raises(HttpRefusal, match="proper name"):
        read_head(head("X" * 257 + ": a"), roomy)


def test_a_credential_beyond_ascii_is_left_to_be_told_as_a_bad_one() -> None:
    assert read("Authorization: Bearer \xfc").headers["authorization"] == "Bearer \xfc"
    assert read("AUTHORIZATION: \xff").headers["authorization"] == "\xff"


# --- before its end -----------------------------------------------------------------------------------------------

GOOD = head("Content-Length: 2", "Accept: */*", "Authorization: Bearer \xfc") + b"\r\n"


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_no_beginning_of_a_good_head_is_refused(end: int) -> None:
    require_promising(GOOD[:end], BOUNDS)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\rH", 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/1.0\r\n", 505),
        (b"GET / HTTP/1.1\r\nX: \0", 400),
        (b"GET / HTTP/1.1\r\r", 400),
        (b"GET /" + b"u" * 80, 414),
        (b"GET / HTTP/1.1\r\n" + b"x" * 400, 431),
        (b"GET /" + b"u" * 39 + b"u HTTP/1.1\r\n", 414),
    ],
)
def test_a_beginning_that_nothing_makes_good_is_refused_at_once(raw: bytes, status: int) -> None:
    with pytest.raises(HttpRefusal) as caught:
        require_promising(raw, BOUNDS)

    assert caught.value.status == status


def test_the_bounds_of_a_beginning_are_those_of_a_head() -> None:
    require_promising((b"GET / HTTP/1.1\r\n" + b"x" * 400)[:400], BOUNDS)
    with pytest.raises(HttpRefusal):
        require_promising((b"GET / HTTP/1.1\r\n" + b"x" * 400)[:401], BOUNDS)
    # 40 of the URL, 24 of the method, and what stands behind and between.
    require_promising(b"u" * 74, BOUNDS)
    with pytest.raises(HttpRefusal):
        require_promising(b"u" * 75, BOUNDS)


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_head_or_refused(raw: bytes) -> None:
    try:
        taken = read_head(raw, BOUNDS)
    except HttpRefusal:
        return

    assert taken.target.startswith(b"/")
    assert raw.isascii()


# --- the dialect of its refusal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"GET /v1/models HTTP/1.1\r\nX : a", "/v1/models"),
        (b"GET /v1/models HTTP/1.0\r\n", "/v1/models"),
        (b"GET /v1/models\r\n", "/v1/models"),
        (b"GET /v1/mod", ""),
        (b"GET foo HTTP/1.1", ""),
        (b"get /v1/models HTTP/1.1", ""),
        (b"\x16\x03 /v1/ ", ""),
        (b"", ""),
    ],
)
def test_a_refused_head_may_still_tell_its_path(raw: bytes, path: str) -> None:
    assert path_of_refused(raw) == path
