"""The connections under the adapter: httpx's errors, and nothing that one request leaves behind for the next."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from adapters.openai.connection import StaleConnection
from adapters.openai.pool import PoolLimits
from adapters.openai.transport import PooledTransport
from tests.adapters.openai.servers import (
    Reader,
    Script,
    Writer,
    answering,
    certificate,
    response,
    serving,
    silent,
    take_request,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


OK = response(b"{}")
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


async def post(transport: httpx.AsyncBaseTransport, origin: str, body: bytes = b"{}", *, connect: float = 1.0) -> bytes:
    """Send a request and read the whole answer."""
    timeout = {"connect": connect, "pool": connect}
    request = httpx.Request("POST", f"{origin}/x", content=body, extensions={"timeout": timeout})
    async with asyncio.timeout(5):
        answer = await transport.handle_async_request(request)
        try:
            return await answer.aread()
        finally:
            await answer.aclose()


async def settle() -> None:
    """Let the loop take in what lies in its sockets."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- errors -------------------------------------------------------------------------------------------------------


async def resetting(reader: Reader, writer: Writer) -> None:
    await take_request(reader)
    writer.transport.abort()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(answering(), httpx.ReadError, id="closed before the head"),
        pytest.param(resetting, httpx.ReadError, id="reset before the head"),
        pytest.param(answering(OK[:20]), httpx.ReadError, id="closed within the head"),
        pytest.param(answering(OK[:-1]), httpx.ReadError, id="closed within the body"),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"),
            httpx.ReadError,
            id="half a chunk",
        ),
        pytest.param(answering(b"nonsense\r\n\r\n"), httpx.RemoteProtocolError, id="no HTTP"),
        pytest.param(answering(response(b"{}", b"x: " + b"x" * 20_000)), httpx.RemoteProtocolError, id="a huge header"),
        pytest.param(
            answering(response(b"{}", *(b"x-%d: x" % number for number in range(300)))),
            httpx.RemoteProtocolError,
            id="a multitude of headers",
        ),
    ],
)
async def test_a_broken_answer_is_the_error_that_httpx_has_for_it(
    transport: PooledTransport, script: Script, error: type[httpx.HTTPError]
) -> None:
    async with serving(script) as origin:
        with pytest.raises(httpx.HTTPError) as raised:
            await post(transport, origin)

    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        pytest.param(b"x\r\n", httpx.RemoteProtocolError, id="a chunk without a size"),
        pytest.param(b"f" * 20 + b"\r\n", httpx.RemoteProtocolError, id="a chunk without an end"),
        pytest.param(b"0\r\nx\x00: y\r\n\r\n", httpx.RemoteProtocolError, id="a trailer that is none"),
        pytest.param(b"5\r\nhel", httpx.ReadError, id="half a chunk"),
        pytest.param(b"", httpx.ReadError, id="nothing"),
    ],
)
async def test_a_body_that_goes_wrong_later_is_an_error_too(
    transport: PooledTransport, rest: bytes, error: type[httpx.HTTPError]
) -> None:
    begun = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await answering(CHUNKED)(reader, writer)
        await begun.wait()
        writer.write(rest)

    async with serving(script) as origin, asyncio.timeout(5):
        answer = await transport.handle_async_request(httpx.Request("POST", f"{origin}/x", content=b"{}"))
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        parts = aiter(answer.stream)
        assert await anext(parts) == b"hello"
        begun.set()
        with pytest.raises(httpx.HTTPError) as raised:
            _ = [part async for part in parts]
        await answer.aclose()

    assert type(raised.value) is error


async def test_a_refused_connection_is_a_connect_error(transport: PooledTransport, free_port: int) -> None:
    with pytest.raises(httpx.ConnectError):
        await post(transport, f"http://127.0.0.1:{free_port}")


async def test_a_name_that_nobody_knows_is_a_connect_error(
    transport: PooledTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(httpx.ConnectError):
        await post(transport, "http://nowhere.example")


@pytest.mark.parametrize("expired", [False, True])
async def test_a_certificate_that_proves_nothing_is_a_connect_error(
    transport: PooledTransport, tmp_path: Path, expired: bool
) -> None:
    async with serving(answering(OK), certificate(tmp_path, expired=expired)) as origin:
        with pytest.raises(httpx.ConnectError):
            await post(transport, origin)


async def test_a_server_without_tls_is_a_connect_error(transport: PooledTransport) -> None:
    async def speak_plainly(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(speak_plainly) as origin:
        with pytest.raises(httpx.ConnectError):
            await post(transport, origin.replace("http:", "https:"))


async def test_a_handshake_that_does_not_end_is_a_connect_timeout(transport: PooledTransport) -> None:
    async with serving(silent) as origin:
        with pytest.raises(httpx.ConnectTimeout):
            await post(transport, origin.replace("http:", "https:"), connect=0.1)


async def test_the_wait_for_a_free_connection_is_a_connect_timeout() -> None:
    transport = PooledTransport(PoolLimits(connections=1))
    arrived = asyncio.Event()

    async def hang(reader: Reader, writer: Writer) -> None:
        arrived.set()
        await silent(reader, writer)

    async with serving(hang) as origin:
        holder = asyncio.create_task(post(transport, origin))
        await arrived.wait()

        with pytest.raises(httpx.ConnectTimeout):
            await post(transport, origin, connect=0.1)

        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
    await transport.aclose()


async def test_an_address_that_is_no_url_of_ours_is_unsupported(transport: PooledTransport) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await post(transport, "ftp://127.0.0.1")


async def test_an_error_does_not_quote_what_was_received(transport: PooledTransport) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nbad header secret\r\n\r\n")) as origin:
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await post(transport, origin)

    assert "secret" not in str(raised.value)


# --- what one request leaves behind for the next ------------------------------------------------------------------


def counting(turn: Callable[[int, Writer], Awaitable[None]]) -> tuple[Script, list[int]]:
    """Answers request after request by ``turn``; the list has for each request the number of its connection."""
    connections: list[int] = []
    opened = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal opened
        opened += 1
        own = opened
        while True:
            await take_request(reader)
            connections.append(own)
            await turn(len(connections), writer)

    return script, connections


async def test_a_connection_is_used_again(transport: PooledTransport) -> None:
    async def turn(number: int, writer: Writer) -> None:
        writer.write(OK)

    script, connections = counting(turn)
    async with serving(script) as origin:
        for _ in range(3):
            await post(transport, origin)

    assert connections == [1, 1, 1]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
async def test_a_second_answer_is_not_read_as_the_next_requests(transport: PooledTransport, late: bool) -> None:
    poison = asyncio.Event()

    async def turn(number: int, writer: Writer) -> None:
        writer.write(response(b"%d" % number))
        if number == 1:
            if late:
                await poison.wait()
            writer.write(response(b"POISON"))

    script, connections = counting(turn)
    async with serving(script) as origin:
        first = await post(transport, origin)
        poison.set()
        await settle()
        second = await post(transport, origin)

    assert (first, second) == (b"1", b"2")
    assert connections == [1, 2]


async def test_a_body_that_is_not_read_to_its_end_closes_the_connection(transport: PooledTransport) -> None:
    gone = asyncio.Event()

    async def turn(number: int, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await writer.drain()

    async def watch(reader: Reader, writer: Writer) -> None:
        await take_request(reader)
        await turn(1, writer)
        assert await reader.read() == b""
        gone.set()

    async with serving(watch) as origin:
        answer = await transport.handle_async_request(httpx.Request("POST", f"{origin}/x", content=b"{}"))
        await answer.aclose()
        async with asyncio.timeout(1):
            await gone.wait()


async def test_cookies_are_not_sent_back(transport: PooledTransport) -> None:
    heads: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(2)
            writer.write(response(b"{}", b"set-cookie: session=1; Path=/"))

    async with serving(script) as origin:
        # A cookie jar may have reasons of its own not to trust an address.
        named = origin.replace("127.0.0.1", "localhost")
        await post(transport, named)
        await post(transport, named)

    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_the_environment_neither_diverts_requests_nor_adds_to_them(
    transport: PooledTransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    heads: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(script) as origin:
        await post(transport, origin)

    assert b"authorization" not in heads[0].lower()


async def test_a_redirect_is_not_followed(transport: PooledTransport, free_port: int) -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 4\r\n\r\nhere" % free_port

    async with serving(answering(moved)) as origin:
        assert await post(transport, origin) == b"here"


async def test_a_compressed_body_stays_as_it_came(transport: PooledTransport) -> None:
    async with serving(answering(response(b"\x1f\x8bnot even gzip", b"content-encoding: x-unknown"))) as origin:
        request = httpx.Request("POST", f"{origin}/x", content=b"{}")
        answer = await transport.handle_async_request(request)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        body = b"".join([part async for part in answer.stream])
        await answer.aclose()

    assert body == b"\x1f\x8bnot even gzip"


async def test_a_large_request_arrives_whole(transport: PooledTransport) -> None:
    body = bytes(range(256)) * 20_000
    arrived: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        arrived.append(await take_request(reader))
        writer.write(OK)

    async with serving(script) as origin:
        await post(transport, origin, body)

    assert arrived == [body]


async def test_a_request_that_the_server_does_not_read_can_be_given_up(transport: PooledTransport) -> None:
    async with serving(silent) as origin:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await post(transport, origin, b"x" * 20_000_000)


@pytest.mark.parametrize("name", ["x\r\ny", "x\ny", "x\ry", "x\0y"])
async def test_a_header_that_would_be_two_is_not_sent(transport: PooledTransport, name: str) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:1/x", headers={"authorization": name}, content=b"{}")

    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(request)


async def test_an_answer_that_comes_before_the_whole_request_is_taken(transport: PooledTransport) -> None:
    connections = 0

    async def refuse(reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.Event().wait()

    async with serving(refuse) as origin:
        assert await post(transport, origin, b"x" * 20_000_000) == b"{}"
        assert await post(transport, origin, b"x" * 20_000_000) == b"{}"

    assert connections == 2


async def test_a_provider_is_made_to_wait_for_a_slow_reader(transport: PooledTransport) -> None:
    sent = 0

    async def pour(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")(reader, writer)
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with serving(pour) as origin, asyncio.timeout(10):
        answer = await transport.handle_async_request(httpx.Request("POST", f"{origin}/x", content=b"{}"))
        before = -1
        while before < sent:
            before = sent
            await asyncio.sleep(0.2)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        parts, read = aiter(answer.stream), 0
        while read <= before:
            read += len(await anext(parts))
        await answer.aclose()

    # What the kernels of both sides hold is theirs; without a bound it would have gone on for ever.
    assert before < 30_000_000


# --- connections that end meanwhile -------------------------------------------------------------------------------


async def answer_once(reader: Reader, writer: Writer) -> None:
    await answering(OK)(reader, writer)
    await take_request(reader)


async def test_a_kept_connection_that_ends_before_an_answer_can_be_told_from_a_new_one(
    transport: PooledTransport,
) -> None:
    async with serving(answer_once) as origin:
        await post(transport, origin)
        with pytest.raises(httpx.ReadError) as kept:
            await post(transport, origin)
    async with serving(answering()) as origin:
        with pytest.raises(httpx.ReadError) as new:
            await post(transport, origin)

    assert (type(kept.value), type(new.value)) == (StaleConnection, httpx.ReadError)


async def test_a_kept_connection_that_ends_within_an_answer_is_cut_off(transport: PooledTransport) -> None:
    async def turn(number: int, writer: Writer) -> None:
        writer.write(OK if number == 1 else OK[:20])
        if number == 2:
            writer.close()

    script, _ = counting(turn)
    async with serving(script) as origin:
        await post(transport, origin)
        with pytest.raises(httpx.ReadError) as raised:
            await post(transport, origin)

    assert type(raised.value) is httpx.ReadError


@pytest.mark.parametrize("behind", [b"", response(b"POISON")], ids=["its end", "an answer"])
def test_what_a_kept_connection_has_not_read_yet_keeps_it_from_being_used(behind: bytes) -> None:
    with serving_apart(behind) as origin, asyncio.Runner() as runner:

        async def ask_twice() -> list[bytes]:
            transport = PooledTransport()
            first = await post(transport, origin)
            time.sleep(0.3)  # noqa: ASYNC251 - the loop must not see what comes meanwhile
            second = await post(transport, origin)
            await transport.aclose()
            return [first, second]

        assert runner.run(ask_twice()) == [b"{}", b"{}"]


@contextmanager
def serving_apart(behind: bytes) -> Iterator[str]:
    """A server in a thread that sends ``behind`` after each answer, a little later, and closes."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.recv(65_536)
                    accepted.sendall(OK)
                    time.sleep(0.1)
                    accepted.sendall(behind)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


# --- opening and closing ------------------------------------------------------------------------------------------


async def test_closing_what_was_never_opened_is_fine() -> None:
    await PooledTransport().aclose()


async def test_closing_ends_the_connections() -> None:
    transport, ended = PooledTransport(), asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await answering(OK)(reader, writer)
        await reader.read()
        ended.set()

    async with serving(script) as origin:
        await post(transport, origin)
        await transport.aclose()

        async with asyncio.timeout(1):
            await ended.wait()
