"""What a connection is good for after an answer: the next request, in order, or nothing at all."""

import asyncio
from socket import create_connection
from urllib.parse import quote

import pytest

from tests.http.log import Log
from tests.http.member import Member
from tests.http.raw import exchange
from tests.http.replica import Replica
from tests.http.surfaces import SURFACES, TENANT, Surface
from tests.provider.process import ProviderProcess

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: a", *lines, "\r\n")).encode()


def post(member: Member, body: bytes, *lines: str, signed: bool = True) -> bytes:
    headers = member.headers(TENANT) if signed else {}
    given = [*(f"{name}: {value}" for name, value in headers.items()), f"Content-Length: {len(body)}", *lines]
    return "\r\n".join((f"POST {TENANT.path(member.tenant)} HTTP/1.1", "Host: a", *given, "\r\n")).encode() + body


HELLO = b'{"messages": [{"role": "user", "content": "Hello"}]}'


# --- H13 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_an_upgrade_is_not_heeded_and_nothing_behind_it_is_read(replica: Replica, protocol: str) -> None:
    asked = get("/healthz", f"Upgrade: {protocol}", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==")

    heard = await exchange(replica.port, asked + HEALTH)

    assert heard.statuses == [200]
    assert heard.closed
    assert heard.answers[0].headers["connection"] == "close"


# --- H17 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a%0d%0aX-Injected: b", "a\tb", "x" * 200, "a b"])
async def test_what_a_client_sends_cannot_add_a_header(member: Member, value: str) -> None:
    heard = await exchange(
        member.replica.port, get(f"/{quote(value, safe='%')}/v1/models", f"X-Request-Id: {value}") + LAST
    )

    assert len(heard.answers) == 2
    assert "x-injected" not in heard.answers[0].headers
    assert heard.answers[0].headers["x-request-id"].startswith("req_")


# --- H18 ----------------------------------------------------------------------------------------------------------


async def test_requests_that_are_sent_ahead_are_answered_in_order(replica: Replica) -> None:
    asked = [get("/healthz", f"X-Request-Id: {number}") for number in range(5)]

    heard = await exchange(replica.port, b"".join(asked) + LAST)

    assert [answer.headers["x-request-id"] for answer in heard.answers[:5]] == ["0", "1", "2", "3", "4"]
    assert heard.statuses == [200] * 6
    assert heard.closed


async def test_a_request_behind_a_slow_one_waits_for_its_turn(member: Member) -> None:
    slow = post(member, HELLO.replace(b"{", b'{"model": "slow-100", ', 1))

    heard = await exchange(member.replica.port, slow + LAST)

    assert heard.statuses == [200, 200]
    assert b"chat.completion" in heard.answers[0].body


async def test_nothing_is_answered_behind_an_error_of_http(member: Member) -> None:
    heard = await exchange(member.replica.port, HEALTH + b"GET foo HTTP/1.1\r\n\r\n" + post(member, HELLO))

    assert heard.statuses == [200, 400]
    assert heard.closed


async def test_nothing_is_answered_behind_a_last_request(replica: Replica) -> None:
    heard = await exchange(replica.port, LAST + HEALTH)

    assert heard.statuses == [200]
    assert heard.closed


@pytest.mark.parametrize("option", ["close", "Close", "keep-alive, close", "x, CLOSE"])
async def test_the_client_can_end_the_connection(replica: Replica, option: str) -> None:
    heard = await exchange(replica.port, get("/healthz", f"Connection: {option}"))

    assert heard.closed
    assert heard.answers[0].headers["connection"] == "close"


# --- bodies that nobody reads -------------------------------------------------------------------------------------


async def test_a_refused_body_that_is_here_is_skipped_and_the_connection_kept(member: Member) -> None:
    heard = await exchange(member.replica.port, post(member, HEALTH, signed=False) + LAST)

    assert heard.statuses == [401, 200]


async def test_a_refused_body_that_is_not_here_ends_the_connection(member: Member) -> None:
    heard = await exchange(member.replica.port, post(member, HELLO, signed=False)[:-1])

    assert heard.statuses == [401]
    assert heard.closed


async def test_a_body_where_none_belongs_is_no_request(replica: Replica) -> None:
    whole = await exchange(replica.port, get("/healthz", f"Content-Length: {len(HEALTH)}") + HEALTH + LAST)
    unfinished = await exchange(replica.port, get("/healthz", "Transfer-Encoding: chunked") + HEALTH)

    assert whole.statuses == [200, 200]
    assert unfinished.statuses == [200]
    assert unfinished.closed


async def test_an_answer_reaches_a_client_that_is_still_sending(member: Member) -> None:
    """Closed at once, the connection would be reset, and the answer lost with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", member.replica.port)
    writer.write(post(member, b"x" * 1_000_000, signed=False)[:300_000])

    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x" * 300_000)
        await writer.drain()
        rest = await reader.read()
    writer.transport.abort()

    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"invalid_request_error" in rest


async def test_more_than_fits_may_come_before_anybody_listens(member: Member) -> None:
    # Sent before the replica, which shares this event loop, had a turn to accept the connection.
    with create_connection(("127.0.0.1", member.replica.port)) as client:
        client.setblocking(False)
        client.send(post(member, b"x" * 1_000_000, signed=False)[:500_000])
        async with asyncio.timeout(5):
            answer = await asyncio.get_running_loop().sock_recv(client, 65536)

    assert answer.startswith(b"HTTP/1.1 401 ")


# --- H19 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["x", ";q=", "*/*;q=1.1.1", "text/html", "", "application/json;q=0"])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_a_client_accepts_changes_no_error(member: Member, surface: Surface, accept: str) -> None:
    unknown = get(f"{surface.root(member.tenant)}/v1/nothing", f"Accept: {accept}")
    wrong = get(surface.path(member.tenant), f"Accept: {accept}", "Connection: close")

    heard = await exchange(member.replica.port, unknown + wrong)

    assert [answer.code for answer in heard.answers] == ["unknown_url", "method_not_supported"]


async def test_a_defect_of_ours_is_told_whatever_the_client_accepts(
    member: Member, provider: ProviderProcess, json_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("entrypoints.http.tenant_surface.list_models", break_down)
    asked = get(
        f"/{member.tenant}/v1/models", "Accept: ;q=", f"Authorization: Bearer {member.token}", "Connection: close"
    )

    heard = await exchange(member.replica.port, asked)

    assert [answer.code for answer in heard.answers] == ["internal_error"]
