"""Requests that are not quite HTTP/1.1: each gets one answer, and nothing behind it is ever taken for a request."""

import pytest

from tests.http.member import Member
from tests.http.raw import Heard, exchange
from tests.http.replica import Replica

HOST = b"Host: gateway.example.org\r\n"
#: What an attacker would have us answer: its status is none that the request before it can get.
SMUGGLED = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"


def get(*lines: bytes, target: bytes = b"/healthz", host: bytes = HOST) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = b"POST /healthz HTTP/1.1\r\n" + HOST
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


#: What is sent, by the row of the table it proves; every one is refused with 400 unless it says something else.
REFUSED: dict[str, bytes | tuple[bytes, int]] = {
    "H1 the same length twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "H1 two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "H1 a list of lengths": post(b"Content-Length: 5, 5", body=b"hello"),
    "H2 length and coding": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "H2 coding and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "H3 a blank before the colon": post(b"Content-Length : 41", body=SMUGGLED),
    "H4 a tab before the colon": post(b"Transfer-Encoding\t: chunked", b"Content-Length: 41", body=SMUGGLED),
    "H5 a control character before chunked": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "H5 xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "H5 Chunked": post(b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n"),
    "H5 gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "H5 identity": post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "H5 chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "H5 no coding": post(b"Transfer-Encoding:", body=b"0\r\n\r\n"),
    **{
        f"H6 {length!r}": post(b"Content-Length: " + length, body=b"hello")
        for length in (b"+5", b"-5", b"0_5", b"0x5", b"\xef\xbc\x95", b"5\x0b", b"\x1f5", b"", b"9" * 20, b"9" * 5000)
    },
    **{
        f"H7 {line!r}": get(line)
        for line in (
            b"X: a\nContent-Length: 5",
            b"X: a\rb",
            b"X: a\0b",
            b"X: \xff",
            b"X\xff: a",
            b"X(A)[]: a",
            b": v",
            b"X",
            b"X y: a",
            b"X: a\r\n folded: b",
            b"X: a\r\n\tfolded",
            b"X: a\n",
        )
    },
    "H7 a blank before the first header": get(host=b" X: a\r\n" + HOST),
    **{
        f"H11 {line!r}": line + b"\r\n" + HOST + b"\r\n"
        for line in (
            b"GET foo HTTP/1.1",
            b"CONNECT a:80 HTTP/1.1",
            b"GET http://[::1 HTTP/1.1",
            b"GET /\0 HTTP/1.1",
            b"GET http://a:99999999/ HTTP/1.1",
            b"GET http:///healthz HTTP/1.1",
            b"GET /healthz#a HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"GET  /healthz HTTP/1.1",
            b"GET /healthz HTTP/1.1 ",
            b"GET /h z HTTP/1.1",
            b"GET\t/healthz\tHTTP/1.1",
            b"G@T /healthz HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
        )
    },
    "H11 PRI": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "H12 HTTP/0.9": b"GET /healthz\r\n",
    "H12 HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", 505),
    "H12 HTTP/1.2": (b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "H12 lower case": b"get /healthz http/1.1\r\n" + HOST + b"\r\n",
    "H12 HTTP/1.1x": b"GET /healthz HTTP/1.1x\r\n" + HOST + b"\r\n",
    "H12 junk": b"\x00\x01\x02junk",
    "H12 a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "H12 empty lines first": b"\r\n\r\n" + get(),
    "H12 one empty line first": b"\r\n" + get(),
    "H12 bare line feeds": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "H14 no host": get(host=b""),
    "H14 two hosts": get(host=HOST + HOST),
    **{
        f"H14 {host!r}": get(host=b"Host: " + host + b"\r\n")
        for host in (b"", b"a/b@c", b"a, b", b"x/abc?y=", b"a:b", b"a:99999", b"[::1", b"a b", b"user@a")
    },
    "H15 a URL of 8 kB": (get(target=b"/" + b"x" * 8191), 414),
    "H15 a URL without an end": (b"GET /" + b"x" * 9000, 414),
    "H15 a head of 16 kB": (get(*[b"X-%d: " % n + b"x" * 1000 for n in range(17)]), 431),
    "H15 a head without an end": (get(*[b"X-%d: " % n + b"x" * 1000 for n in range(17)])[:-2], 431),
    "H15 101 headers": (get(*[b"X-%d: a" % n for n in range(100)]), 431),
    "H15 a header of 8 kB": (get(b"X: " + b"x" * 8192), 431),
    "H16 an unknown expectation": (post(b"Expect: nonsense", b"Content-Length: 2", body=b"{}"), 417),
    "two tenants": get(b"X-Tenant-Id: a", b"X-Tenant-Id: b", target=b"/v1/models"),
}


@pytest.mark.parametrize("row", REFUSED)
async def test_what_is_not_quite_http_is_refused_once_and_closed(replica: Replica, row: str) -> None:
    given = REFUSED[row]
    request, status = given if isinstance(given, tuple) else (given, 400)

    heard = await exchange(replica.port, request + SMUGGLED)

    assert heard.statuses == [status]
    assert heard.closed
    assert heard.answers[0].code
    assert heard.answers[0].headers["connection"] == "close"


@pytest.mark.parametrize("row", REFUSED)
async def test_it_is_refused_the_same_byte_by_byte(replica: Replica, row: str) -> None:
    given = REFUSED[row]
    request, status = given if isinstance(given, tuple) else (given, 400)

    # In pieces, so that each may be the one that gives it away; at most a few hundred of them.
    size = max(1, len(request) // 200)
    heard = await exchange(replica.port, *(request[at : at + size] for at in range(0, len(request), size)))

    assert heard.statuses == [status]
    assert heard.closed


#: Chunked bodies that are not as they have to be, before what they would smuggle.
BAD_CHUNKS: dict[str, bytes] = {
    **{
        f"H8 size {size!r}": size + b"\r\nhello\r\n0\r\n\r\n"
        for size in (b"0x5", b" 5", b"5 ", b"\xef\xbc\x95", b"5;\nxx", b"5;" + b"x" * 10_000, b"0" * 55 + b"5", b"",
                     b"-5", b"+5", b"g", b"5;a=b", b"5\t", b"FFFFFFFFF")
    },
    "H9 another end than a line's": b"5\r\nhelloXX0\r\n\r\n",
    "H9 a bare line feed": b"5\nhello\n0\n\n",
    "H10 trailers": b"5\r\nhello\r\n0\r\nX: a\r\n\r\n",
    "H10 a request for the last line": b"0\r\n" + SMUGGLED,
    "a chunk for each byte": b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("row", BAD_CHUNKS)
async def test_a_badly_chunked_body_is_refused_and_smuggles_nothing(member: Member, row: str) -> None:
    heard = await asking_chunked(member, BAD_CHUNKS[row] + SMUGGLED)

    assert heard.statuses == [400]
    assert heard.closed


async def asking_chunked(member: Member, chunks: bytes) -> Heard:
    head = (
        f"POST /{member.tenant}/v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {member.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return await exchange(member.replica.port, head.encode() + chunks, patience=1.0)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_well_chunked_body_is_read_however_it_comes(member: Member, size: int) -> None:
    body = b'{"messages": [{"role": "user", "content": "Hello"}]}'
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]) for at in range(0, len(body), size)
    )

    heard = await asking_chunked(member, chunks + b"0\r\n\r\n" + SMUGGLED)

    # What comes behind it is a request of its own, and answered as one.
    assert heard.statuses == [200, 200]
    assert b"Hello" in heard.answers[0].body
    assert heard.answers[1].body == b'{"status":"ok"}'


async def test_a_chunked_body_without_its_end_is_waited_for(member: Member) -> None:
    heard = await asking_chunked(member, b"5\r\nhello\r\n0\r\n")

    assert heard.statuses == []
    assert not heard.closed
