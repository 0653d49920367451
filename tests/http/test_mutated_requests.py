"""Requests that were good before something happened to them: whatever it was, nobody falls over it.

``MUTATED_REQUESTS`` says how many, ``MUTATION_SEED`` where to begin; 100,000 take some minutes.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

import pytest

from tests.http.log import Log
from tests.http.member import Member
from tests.http.raw import answers_in
from tests.http.replica import Replica, running
from tests.http.surfaces import TENANT
from tests.http.waiting import until
from tests.provider.process import ProviderProcess

COUNT = int(os.environ.get("MUTATED_REQUESTS", "1500"))
SEED = int(os.environ.get("MUTATION_SEED", "1"))
AT_ONCE = 64
#: What a request that stays unfinished is given.
DEADLINE = 0.5

#: The access line of each request, and the contract's line for those that came as far as that.
LOGGED = {"Request served", "Processing chat completion"}

Mutation: TypeAlias = Callable[[random.Random, bytearray], None]


@pytest.fixture(scope="module")
async def hasty(process: ProviderProcess) -> AsyncIterator[Replica]:
    async with running(process, head_seconds=DEADLINE, body_seconds=DEADLINE, shed_lag_seconds=None) as started:
        yield started


# --- what is sent -------------------------------------------------------------------------------------------------


def good_requests(member: Member) -> Sequence[bytes]:
    """One of each kind. Completions are of a model that the tenant does not have: no provider is asked."""
    path = TENANT.path(member.tenant)
    named = f"Host: a\r\nAuthorization: Bearer {member.token}\r\nX-Tenant-Id: {member.tenant}\r\n"
    body = '{"model": "gone", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5, "n": 1}'
    whole = (
        f"POST {path} HTTP/1.1\r\n{named}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    chunked = (
        f"POST {path} HTTP/1.1\r\n{named}Transfer-Encoding: chunked\r\n\r\n"
        f"{len(body[:9]):x}\r\n{body[:9]}\r\n{len(body[9:]):x}\r\n{body[9:]}\r\n0\r\n\r\n"
    )
    texts = (
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /{member.tenant}/v1/models HTTP/1.1\r\n{named}Accept: */*\r\n\r\n",
        f"GET /v1/chat/completions/job-1?stream=true&starting_after=3 HTTP/1.1\r\n{named}Last-Event-ID: 3\r\n\r\n",
        f"POST {path}/chatcmpl-1/cancel HTTP/1.1\r\n{named}Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        f"GET / HTTP/1.1\r\n{named}Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://a\r\n\r\n",
        whole,
        chunked,
        whole.replace("/" + member.tenant, "", 1).replace('{"model"', '{"group_id": "anonymous", "model"'),
    )
    return [text.encode() for text in texts]


SPECIAL = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\xff", b"\x0b", b"%00", b"%0d%0a", b"../", b"0x"),
    *(b"-", b"+", b"_", b"{", b"[", b'"', b"\\ud800", b"NaN", b"1e999", b"9" * 400, b"A" * 9000, b"\r\n\r\n", b"#"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0", b"http://[::1", b"?" * 5),
)


def flip(chance: random.Random, request: bytearray) -> None:
    request[chance.randrange(len(request))] ^= 1 << chance.randrange(8)


def drop(chance: random.Random, request: bytearray) -> None:
    at = chance.randrange(len(request))
    del request[at : at + chance.choice((1, 1, 2, 4, 16))]


def insert(chance: random.Random, request: bytearray) -> None:
    at = chance.randrange(len(request) + 1)
    request[at:at] = chance.choice(SPECIAL)


def repeat(chance: random.Random, request: bytearray) -> None:
    at, length = chance.randrange(len(request)), chance.choice((1, 4, 20, 80))
    request[at:at] = request[at : at + length]


def replace_with_special(chance: random.Random, request: bytearray) -> None:
    at = chance.randrange(len(request))
    request[at : at + chance.choice((1, 3, 8))] = chance.choice(SPECIAL)


def swap_lines(chance: random.Random, request: bytearray) -> None:
    lines = bytes(request).split(b"\r\n")
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    request[:] = b"\r\n".join(lines)


def cut(chance: random.Random, request: bytearray) -> None:
    del request[chance.randrange(1, len(request) + 1) :]


MUTATIONS: Sequence[Mutation] = (flip, flip, drop, insert, repeat, replace_with_special, swap_lines, cut)


def mutated(chance: random.Random, requests: Sequence[bytes]) -> bytes:
    request = bytearray(chance.choice(requests))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        chance.choice(MUTATIONS)(chance, request)
        request = request or bytearray(b"\0")
    return bytes(request)


# --- what becomes of it -------------------------------------------------------------------------------------------


async def statuses_of(port: int, request: bytes) -> list[int]:
    """What a request is answered with, by the time of its first whole answer or the end of the connection.

    Raises:
        TimeoutError: neither comes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            while data := await reader.read(65536):
                received += data
                if received.endswith(b"}") and not received.startswith(b"HTTP/1.1 100"):
                    break
    except ConnectionResetError:
        pass
    finally:
        writer.transport.abort()
    return [answer.status for answer in answers_in(received)]


async def test_no_mutated_request_makes_anything_fall_over(hasty: Replica, json_log: Log) -> None:
    member = Member(hasty, await hasty.add_tenant(allowed_models=["small"]))
    chance, requests, room = random.Random(SEED), good_requests(member), asyncio.Semaphore(AT_ONCE)
    before = len(asyncio.all_tasks())
    statuses: Counter[int] = Counter()

    async def send(request: bytes) -> None:
        async with room:
            try:
                statuses.update(await statuses_of(hasty.port, request))
            except TimeoutError:
                pytest.fail(f"hung: {request!r}")

    for start in range(0, COUNT, 1000):
        await asyncio.gather(*(send(mutated(chance, requests)) for _ in range(min(1000, COUNT - start))))

    assert statuses[200] > 0
    assert statuses[400] > 0
    assert {status for status in statuses if status >= 500} <= {505}, statuses
    await until(lambda: nobody_is_left(hasty, before))
    assert {record["message"].partition(" for ")[0] for record in json_log.records} <= LOGGED
    served = [record["request_id"] for record in json_log.of("Request served")]
    # A line for each, and never two for one; a few of them became two requests.
    assert COUNT * 0.9 < len(served) < COUNT * 1.1
    assert len(set(served)) == len(served)
    assert "Traceback" not in json_log.text


async def nobody_is_left(replica: Replica, tasks: int) -> bool:
    return not replica.server.connections and len(asyncio.all_tasks()) <= tasks
