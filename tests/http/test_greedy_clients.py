"""Clients that take their time, send too much, read too little or stay too long: each is cut off, and nobody else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from socket import SO_RCVBUF, SOL_SOCKET, create_connection, socket

import orjson
import pytest

from tests.http.log import Log
from tests.http.member import Member
from tests.http.raw import exchange, hear
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.waiting import until
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

DEADLINE = 0.4
CAP = 2048
CONNECTIONS = 6
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
async def strict(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica with little patience and little room."""
    async with running(
        process,
        head_seconds=DEADLINE,
        body_seconds=DEADLINE,
        send_seconds=DEADLINE,
        connection_idle_seconds=DEADLINE,
        body_bytes=CAP,
        anonymous_body_bytes=1024,
        connections=CONNECTIONS,
    ) as started:
        yield started


@pytest.fixture
async def member(strict: Replica) -> Member:
    return Member(strict, await strict.add_tenant())


def head(member: Member, *lines: str, surface: Surface = TENANT, signed: bool = True) -> bytes:
    headers = member.headers(surface) if signed else {"X-Tenant-Id": member.tenant}
    given = [*(f"{name}: {value}" for name, value in headers.items()), "Host: a", *lines]
    return "\r\n".join((f"POST {surface.path(member.tenant)} HTTP/1.1", *given, "\r\n")).encode()


def byte_by_byte(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


async def drip(port: int, *parts: bytes) -> tuple[list[int], float]:
    """Send parts with pauses between them until the other side has had enough; the answers, and when it had."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()

    async def send() -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(DEADLINE / 10)

    sending = asyncio.create_task(send())
    heard = await hear(reader)
    taken = time.monotonic() - began
    sending.cancel()
    writer.transport.abort()
    assert heard.closed
    return heard.statuses, taken


# --- R1, R2: time -------------------------------------------------------------------------------------------------


async def test_a_head_that_comes_byte_by_byte_is_cut_off_at_its_deadline(strict: Replica) -> None:
    statuses, taken = await drip(strict.port, *byte_by_byte(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: a"))

    assert statuses == [408]
    assert DEADLINE <= taken < DEADLINE * 3


async def test_a_later_head_has_the_same_deadline(strict: Replica) -> None:
    statuses, _ = await drip(strict.port, HEALTH, *byte_by_byte(b"GET /healthz HTTP/1.1\r\nHost: abc"))

    assert statuses == [200, 408]


async def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(strict: Replica) -> None:
    assert (await drip(strict.port))[0] == []
    assert (await drip(strict.port, HEALTH))[0] == [200]


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_comes_byte_by_byte_is_cut_off_at_its_deadline(member: Member, framing: str) -> None:
    content = (b"1\r\nx\r\n",) * 1000 if "chunked" in framing else (b"x",) * 1000

    statuses, taken = await drip(member.replica.port, head(member, framing), *content)

    assert statuses == [408]
    assert DEADLINE <= taken < DEADLINE * 3


async def test_a_body_that_was_promised_and_does_not_come_is_cut_off(member: Member, json_log: Log) -> None:
    heard = await exchange(member.replica.port, head(member, "Content-Length: 10", "Expect: 100-continue"))

    assert heard.statuses == [408]
    assert heard.answers[0].interim == 1
    assert heard.closed
    assert [line["status_code"] for line in json_log.of("Request served")] == [408]


# --- R3, R4, H16: size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_without_a_token_no_body_is_waited_for(member: Member, surface: Surface) -> None:
    unsigned = head(member, f"Content-Length: {98 * 2**20}", "Expect: 100-continue", surface=surface, signed=False)

    heard = await exchange(member.replica.port, unsigned)

    assert heard.statuses == [401]
    assert heard.answers[0].interim == 0
    assert heard.closed


async def test_on_the_group_surface_less_is_taken_without_a_token(member: Member) -> None:
    body = b'{"group_id": "anonymous"}'.ljust(1500)
    length = f"Content-Length: {len(body)}"

    nobody = await exchange(member.replica.port, head(member, length, surface=GROUP, signed=False) + body)
    somebody = await exchange(member.replica.port, head(member, length, "Connection: close", surface=GROUP) + body)

    assert [answer.code for answer in nobody.answers] == ["payload_too_large"]
    assert [answer.code for answer in somebody.answers] == ["missing_required_parameter"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(member: Member, surface: Surface) -> None:
    promised = head(member, f"Content-Length: {CAP + 1}", "Expect: 100-continue", surface=surface)

    heard = await exchange(member.replica.port, promised)

    assert [(answer.status, answer.interim) for answer in heard.answers] == [(413, 0)]
    assert heard.closed


async def test_a_body_that_turns_out_too_large_is_refused_there(member: Member) -> None:
    chunked = head(member, "Transfer-Encoding: chunked")

    heard = await exchange(member.replica.port, chunked, b"400\r\n" + b" " * 1024 + b"\r\n", b"401\r\n")

    assert heard.statuses == [413]
    assert heard.closed


async def test_a_body_is_asked_for_only_where_it_is_wanted(member: Member) -> None:
    body = b'{"messages": [{"role": "user", "content": "Hello"}]}'
    asked = head(member, f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close")

    heard = await exchange(member.replica.port, asked, body)

    assert heard.statuses == [200]


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip"])
async def test_a_packed_body_is_415_and_not_waited_for(member: Member, coding: str) -> None:
    heard = await exchange(member.replica.port, head(member, f"Content-Encoding: {coding}", "Content-Length: 1000"))

    assert [answer.code for answer in heard.answers] == ["unsupported_content_encoding"]
    assert heard.answers[0].headers["accept-encoding"] == "identity"
    assert heard.closed


# --- R5: connections ----------------------------------------------------------------------------------------------


async def test_beyond_the_cap_a_connection_can_only_ask_how_the_service_is(strict: Replica) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(closing(create_connection(("127.0.0.1", strict.port))))
        asked = await exchange(strict.port, HEALTH.replace(b"Host", b"Connection: close\r\nHost"))
        refused = await exchange(strict.port, MODELS)
    # Once they are gone, everybody is welcome again.
    await until(lambda: served(strict))

    assert asked.statuses == [200]
    assert [(answer.code, answer.headers["retry-after"]) for answer in refused.answers] == [("overloaded", "1")]
    assert refused.closed


async def test_far_beyond_the_cap_nobody_is_let_in(strict: Replica) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + 64):
            stack.enter_context(closing(create_connection(("127.0.0.1", strict.port))))
        heard = await exchange(strict.port, HEALTH)
    await until(lambda: served(strict))

    assert heard.statuses == []
    assert heard.closed


async def served(replica: Replica) -> bool:
    return (await exchange(replica.port, MODELS, patience=0.1)).statuses == [400]


# --- R6, R7: what nobody reads ------------------------------------------------------------------------------------


async def test_a_reader_that_takes_nothing_is_cut_off_and_its_run_goes_on(process: ProviderProcess) -> None:
    async with running(process, send_seconds=DEADLINE, send_buffer=4096) as replica:
        member = Member(replica, await replica.add_tenant())
        with socket() as client:
            client.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", replica.port))
            body = orjson.dumps(
                {**member.body(TENANT), "model": "words-n2000", "stream": True, "conversation_id": "talk"}
            )
            client.sendall(head(member, f"Content-Length: {len(body)}") + body)

            kept = await largest_buffer(replica)

        # What was not yet sent, and one write of a batch more.
        assert 0 < kept < 64 * 1024 + 512 * 300
        state = await member.fetch(TENANT, "talk")
        assert state.json()["status"] == "completed"
        assert len(state.json()["choices"][0]["message"]["content"].split()) == 2000


async def largest_buffer(replica: Replica) -> int:
    """The most bytes that ever waited for a client, until none has a connection any more."""
    largest = 0

    async def gone() -> bool:
        nonlocal largest
        sizes = [connection.transport.get_write_buffer_size() for connection in replica.server.connections]
        largest = max([largest, *sizes])
        return largest > 0 and not sizes

    await until(gone)
    return largest


async def test_junk_behind_a_request_is_dropped_and_the_client_seen_leaving(
    member: Member, provider: ProviderProcess, json_log: Log
) -> None:
    async with asking(member, TENANT, model="hang", conversation_id="talk") as wire:
        await provider.seen_when(lambda seen: len(seen) == 1)
        for _ in range(20):
            wire.writer.write(b"x" * 100_000)
            await wire.writer.drain()
        wire.leave()

    await until(lambda: left(json_log))


async def left(log: Log) -> bool:
    return [line["status_code"] for line in log.of("Request served")] == [499]
