"""One HTTP answer out of bytes: its head, its body, its end, and what it leaves of the connection."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
import pytest

from adapters.openai.answer import ENOUGH_BYTES, MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_INTERIM, Answer

pytestmark = pytest.mark.anyio

WITH_LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-one: 1\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-one: 1\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nx-one: 1\r\n\r\nhello"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"


@dataclass
class Told:
    """What an answer tells its connection."""

    closed: bool = False
    holds: list[bool] = field(default_factory=list)

    def close(self) -> None:
        self.closed = True

    def hold(self, held: bool) -> None:
        self.holds.append(held)


def an_answer(*pieces: bytes, told: Told | None = None) -> Answer:
    answer = Answer(asyncio.get_running_loop(), told or Told())
    for piece in pieces:
        answer.feed(piece)
    return answer


async def body_of(answer: Answer) -> bytes:
    async with asyncio.timeout(1):
        return b"".join([part async for part in answer])


async def failure_of(answer: Answer) -> httpx.TransportError:
    """What a reader of the whole answer gets in the place of its end."""
    try:
        answer.require_head()
        await body_of(answer)
    except httpx.TransportError as error:
        return error
    raise AssertionError("it is whole")


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


@pytest.mark.parametrize(
    "raw", [WITH_LENGTH, CHUNKED, UNTIL_CLOSE, EARLY_HINTS + CHUNKED, EARLY_HINTS * 3 + WITH_LENGTH]
)
async def test_an_answer_is_the_same_wherever_it_is_cut(raw: bytes) -> None:
    cuts = [[raw[:at], raw[at:]] for at in range(len(raw))]

    for pieces in [*cuts, list(bytewise(raw))]:
        answer = an_answer(*pieces)
        answer.end()

        assert (answer.status, dict(answer.headers)[b"x-one"]) == (200, b"1")
        assert await body_of(answer) == b"hello"


@pytest.mark.parametrize(
    ("raw", "spared"),
    [
        (WITH_LENGTH, True),
        (CHUNKED, True),
        (UNTIL_CLOSE, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
        (WITH_LENGTH + WITH_LENGTH, False),
        (CHUNKED + b"HTTP/1.1 200", False),
        (WITH_LENGTH + b"nonsense", False),
    ],
)
async def test_a_connection_is_spared_where_the_answer_has_an_end_and_nothing_behind_it(
    raw: bytes, spared: bool
) -> None:
    answer = an_answer(raw)
    answer.end()

    assert (answer.is_complete, answer.spares_connection) == (True, spared)


async def test_what_is_behind_an_answer_is_no_part_of_it() -> None:
    assert await body_of(an_answer(WITH_LENGTH + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON")) == b"hello"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no status line"),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="half a status"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", id="a header without a colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello", id="a space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", id="both framings"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", id="a chunk without a size"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 20, id="a chunk without an end"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhelloXX", id="a chunk that lies"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="an upgrade"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="an upgrade to nothing"),
        pytest.param(EARLY_HINTS * (MAX_INTERIM + 1), id="interim answers without an end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", id="a huge header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MAX_HEAD_FIELDS + 1) + b"\r\n", id="too many headers"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: %b\r\n" % (b"y" * 999) * 20,
            id="trailers",
        ),
    ],
)
async def test_what_is_no_answer_is_a_protocol_error(raw: bytes) -> None:
    for pieces in ([raw], bytewise(raw)):
        answer = an_answer(*pieces)

        assert type(await failure_of(answer)) is httpx.RemoteProtocolError
        assert (answer.is_complete, answer.is_over, answer.opened.done()) == (False, True, True)


@pytest.mark.parametrize("endless", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n"])
async def test_a_head_that_does_not_end_is_given_up_at_the_limit(endless: bytes) -> None:
    answer = an_answer(endless)
    fed = 0

    while not answer.is_over and fed < 10 * MAX_HEAD_BYTES:
        answer.feed(b"x" * 100)
        fed += 100

    assert type(await failure_of(answer)) is httpx.RemoteProtocolError
    assert fed <= MAX_HEAD_BYTES + 100


@pytest.mark.parametrize("raw", [WITH_LENGTH[:20], WITH_LENGTH[:-1], CHUNKED[:-5], b""])
async def test_an_answer_that_is_cut_off_fails_behind_what_came(raw: bytes) -> None:
    answer = an_answer(raw)

    answer.end()
    answer.fail(httpx.ReadError("cut"))

    assert str(await failure_of(answer)) == "cut"


async def test_what_came_of_a_body_is_read_before_its_failure() -> None:
    answer = an_answer(WITH_LENGTH[:-2])
    answer.fail(httpx.ReadError("cut"))
    parts = aiter(answer)

    assert await anext(parts) == b"hel"
    with pytest.raises(httpx.ReadError):
        await anext(parts)


async def test_each_step_gives_all_that_is_there() -> None:
    answer = an_answer(CHUNKED[:-17])
    parts = aiter(answer)

    first = await anext(parts)
    answer.feed(CHUNKED[-17:])

    assert (first, await anext(parts)) == (b"he", b"llo")


async def test_trailers_are_no_headers() -> None:
    answer = an_answer(CHUNKED[:-2] + b"x-two: 2\r\n\r\n")

    assert await body_of(answer) == b"hello"
    assert b"x-two" not in dict(answer.headers)


async def test_a_provider_is_held_until_its_reader_has_caught_up() -> None:
    told = Told()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (4 * ENOUGH_BYTES)
    answer = an_answer(head, b"x" * ENOUGH_BYTES, b"x", b"x", told=told)
    held = list(told.holds)

    await anext(answer)

    assert (held, told.holds) == ([True], [True, False])


async def test_closed_before_its_end_it_closes_the_connection_and_behind_it_not() -> None:
    cut, whole = Told(), Told()

    await an_answer(WITH_LENGTH[:-1], told=cut).aclose()
    await an_answer(WITH_LENGTH, told=whole).aclose()

    assert (cut.closed, whole.closed) == (True, False)


async def test_a_reader_that_gave_up_may_come_back() -> None:
    answer = an_answer(WITH_LENGTH[:-5])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(answer)

    answer.feed(b"hello")

    assert await body_of(answer) == b"hello"
