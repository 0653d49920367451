"""A flood of tokens that name keys which nobody knows: the issuer hardly notices, and good tokens are taken as ever."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from adapters.auth.compact import decode, encode
from adapters.auth.jwks import Pace
from tests.e2e.conftest import TENANT, Figure, Start
from tests.oidc import AuthServer, auth_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SOCKETS = 50
TOKENS = 10_000


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthServer]:
    with auth_server(tmp_path_factory.mktemp("oidc")) as running:
        yield running


def unknown(good: str, number: int) -> str:
    """A good token, but for the key that it names."""
    head, claims, signature = good.split(".")
    renamed = decode(head).replace(b"RS256-1", b"x-%d" % number)
    return f"{encode(renamed)}.{claims}.{signature}"


async def statuses(port: int, tokens: list[str]) -> list[int]:
    """What one connection is answered, a token after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    told = []
    for token in tokens:
        head = f"GET /{TENANT}/v1/models HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        told.append(int(answer.split(b" ", 2)[1]))
    writer.close()
    return told


async def test_a_flood_of_unknown_keys_costs_the_issuer_one_fetch_an_interval(
    start: Start, issuing: AuthServer, figure: Figure
) -> None:
    given = {"SLUICE_JWT_ISSUER": issuing.address, "SLUICE_JWT_AUDIENCE": "sluice"}
    port = (await asyncio.to_thread(start, **given)).port
    good = issuing.token("rs256")
    assert await statuses(port, [good]) == [200]
    flood = [unknown(good, number) for number in range(TOKENS)]
    fetched, begun = issuing.asked("/jwks"), time.monotonic()

    told = await asyncio.gather(
        *(statuses(port, flood[first::SOCKETS]) for first in range(SOCKETS)),
        statuses(port, [issuing.token("rs256")] + [good] * 100),
    )

    seconds, fetches = time.monotonic() - begun, issuing.asked("/jwks") - fetched
    assert {status for each in told[:-1] for status in each} == {401}
    assert set(told[-1]) == {200}
    assert fetches <= 1 + seconds / Pace().rest
    figure(f"{TOKENS} tokens from {SOCKETS} sockets in {seconds:.1f} s: {fetches} fetches of the key set")
