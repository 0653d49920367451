"""Opaque tokens: what an issuer says of them, how seldom it is asked, and what happens while it does not answer."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import httpx
import pytest

from adapters.auth.claims import LEEWAY
from adapters.auth.introspection import Introspection, Introspector, OpaqueTokens
from adapters.auth.issuer import Issuer
from domain.errors import KeysUnavailable, NotAuthenticated
from domain.ports import TokenVerifier
from domain.tenants import Principal
from tests.adapters.auth.tokens import NOW, Clock

pytestmark = pytest.mark.anyio

ISSUER = "https://id.example"
GOOD = {"active": True, "sub": "ada", "tenants": ["acme"], "aud": "sluice", "exp": NOW + 600}
TERMS = Introspection("a client", "100% secret: of it", timeout=0.5, size=100, waiting=20)


class Server:
    """An issuer that says ``answer`` of every token, a text as it is; while ``gate`` is closed it says nothing."""

    def __init__(self) -> None:
        self.answer: object = GOOD
        self.status = 200
        self.endpoint: object = f"{ISSUER}/introspect"
        self.asked: list[httpx.Request] = []
        self.discovered = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._arrivals = asyncio.Condition()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            self.discovered += 1
            return told(200, {"issuer": ISSUER, "introspection_endpoint": self.endpoint})
        async with self._arrivals:
            self.asked.append(request)
            self._arrivals.notify_all()
        await self.gate.wait()
        return told(self.status, self.answer)

    async def arrivals(self, count: int) -> None:
        """Wait until it was asked about so many tokens."""
        async with asyncio.timeout(10), self._arrivals:
            await self._arrivals.wait_for(lambda: len(self.asked) >= count)

    def tokens(self) -> list[str]:
        return [parse_qs(request.content.decode())["token"][0] for request in self.asked]


def told(status: int, answer: object) -> httpx.Response:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return httpx.Response(status, stream=httpx.ByteStream(text.encode()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monotonic() -> Clock:
    return Clock(1_000)


@pytest.fixture
def server() -> Server:
    return Server()


def verifier_of(server: Server, clock: Clock, monotonic: Clock, **changes: Any) -> OpaqueTokens:
    terms = replace(TERMS, **changes)
    issuer = Issuer(ISSUER, httpx.MockTransport(server))
    return OpaqueTokens(Introspector(issuer, "sluice", terms, clock), terms, clock, monotonic=monotonic)


@pytest.fixture
async def opaque(server: Server, clock: Clock, monotonic: Clock) -> AsyncIterator[OpaqueTokens]:
    verifier = verifier_of(server, clock, monotonic)
    yield verifier
    server.gate.set()
    await verifier.close()


async def test_the_port_is_kept(opaque: OpaqueTokens) -> None:
    verifier: TokenVerifier = opaque

    assert (await verifier.verify("abc")).user == "ada"


async def test_the_issuer_is_asked_as_a_client_of_its_own(opaque: OpaqueTokens, server: Server) -> None:
    await opaque.verify("a+b/c==")

    (request,) = server.asked
    scheme, pair = request.headers["authorization"].split(" ")
    assert (request.method, str(request.url), scheme) == ("POST", f"{ISSUER}/introspect", "Basic")
    assert [unquote_plus(part) for part in b64decode(pair).decode().split(":")] == ["a client", "100% secret: of it"]
    assert parse_qs(request.content.decode()) == {"token": ["a+b/c=="], "token_type_hint": ["access_token"]}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_the_claims_are_read_as_those_of_any_token(opaque: OpaqueTokens, server: Server) -> None:
    server.answer = GOOD | {"groups": {"acme": "staff"}, "scope": "sluice:read x"}

    who = await opaque.verify("abc")

    assert who == Principal("ada", frozenset({"acme"}), {"acme": "staff"}, frozenset({"sluice:read", "x"}))


@pytest.mark.parametrize(
    "claims",
    [
        {"active": False},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["other"]},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"exp": NOW - 60},
        {"exp": "tomorrow"},
        {"nbf": NOW + 60},
        {"sub": None},
        {"cnf": {"jkt": "x"}},
    ],
)
async def test_a_token_that_is_not_for_us_or_not_good_now_is_refused(
    opaque: OpaqueTokens, server: Server, claims: dict[str, object]
) -> None:
    server.answer = GOOD | claims

    with pytest.raises(NotAuthenticated) as refusal:
        await opaque.verify("abc")

    assert refusal.value.reason == "invalid_token"


async def test_an_issuer_need_not_say_until_when(opaque: OpaqueTokens, server: Server, monotonic: Clock) -> None:
    server.answer = {key: value for key, value in GOOD.items() if key != "exp"}

    for _ in range(3):
        assert (await opaque.verify("abc")).user == "ada"
        monotonic.now += TERMS.believed / 2

    assert len(server.asked) == 2


# --- how seldom -----------------------------------------------------------------------------------------------------


async def test_a_token_is_asked_about_once_however_many_come_with_it(opaque: OpaqueTokens, server: Server) -> None:
    server.gate.clear()
    waiting = [asyncio.create_task(opaque.verify("abc")) for _ in range(50)]
    await server.arrivals(1)

    waiting[0].cancel()
    server.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert {getattr(answer, "user", None) for answer in answers[1:]} == {"ada"}
    assert (len(server.asked), server.discovered) == (1, 1)


async def test_a_good_token_is_believed_for_a_while_and_then_asked_about_again(
    opaque: OpaqueTokens, server: Server, monotonic: Clock
) -> None:
    await opaque.verify("abc")
    server.answer = {"active": False}

    monotonic.now += TERMS.believed - 1
    assert (await opaque.verify("abc")).user == "ada"
    monotonic.now += 1

    with pytest.raises(NotAuthenticated):
        await opaque.verify("abc")


async def test_a_token_is_believed_no_longer_than_it_is_good(
    opaque: OpaqueTokens, server: Server, clock: Clock, monotonic: Clock
) -> None:
    server.answer = GOOD | {"exp": NOW + 5 - LEEWAY}
    await opaque.verify("abc")

    for each in (clock, monotonic):
        each.now += 5

    with pytest.raises(NotAuthenticated):
        await opaque.verify("abc")


async def test_a_refusal_is_remembered_for_a_shorter_while(
    opaque: OpaqueTokens, server: Server, monotonic: Clock
) -> None:
    server.answer = {"active": False}
    for _ in range(5):
        with pytest.raises(NotAuthenticated, match="not active"):
            await opaque.verify("abc")
    assert len(server.asked) == 1

    server.answer = GOOD
    monotonic.now += TERMS.refused

    assert (await opaque.verify("abc")).user == "ada"


async def test_tokens_that_begin_alike_are_asked_about_each(opaque: OpaqueTokens, server: Server) -> None:
    for token in ("a" * 200, "a" * 200 + "b", "a" * 200 + "c"):
        await opaque.verify(token)

    assert len(server.tokens()) == 3


async def test_a_flood_of_bad_tokens_pushes_no_good_one_out_and_takes_bounded_room(
    opaque: OpaqueTokens, server: Server
) -> None:
    await opaque.verify("good")
    server.answer = {"active": False}
    for number in range(TERMS.size + 1):
        with pytest.raises(NotAuthenticated):
            await opaque.verify(f"bad-{number}")

    await opaque.verify("good")
    for token in (f"bad-{TERMS.size}", "bad-0"):
        with pytest.raises(NotAuthenticated):
            await opaque.verify(token)

    assert server.tokens()[-2:] == [f"bad-{TERMS.size}", "bad-0"]
    assert server.tokens().count("good") == 1


async def test_no_more_than_so_many_are_asked_about_at_once(opaque: OpaqueTokens, server: Server) -> None:
    await opaque.verify("known")
    server.gate.clear()

    answers = asyncio.gather(
        *(opaque.verify(f"token-{number}") for number in range(TERMS.waiting + 5)), return_exceptions=True
    )
    await server.arrivals(TERMS.waiting + 1)
    known = await opaque.verify("known")
    server.gate.set()
    refused = [answer for answer in await answers if isinstance(answer, KeysUnavailable)]

    assert known.user == "ada"
    assert len(refused) == 5
    assert len(server.asked) == TERMS.waiting + 1


# --- while it does not answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, {"error": "invalid_client"}),
        (500, "no"),
        (302, GOOD),
        (200, "<html>"),
        (200, []),
        (200, {}),
        (200, {"active": "yes"}),
        (200, "[" * 100_000),
        (200, " " * (1 << 20) + "{}"),
    ],
)
async def test_without_an_answer_nobody_is_judged_and_nothing_is_remembered(
    opaque: OpaqueTokens, server: Server, status: int, answer: object
) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(KeysUnavailable):
        await opaque.verify("abc")

    server.status, server.answer = 200, GOOD

    assert (await opaque.verify("abc")).user == "ada"


async def test_an_issuer_that_is_silent_is_waited_for_so_long_and_no_longer(
    server: Server, clock: Clock, monotonic: Clock
) -> None:
    server.gate.clear()
    opaque = verifier_of(server, clock, monotonic, timeout=0.05)

    with pytest.raises(KeysUnavailable):
        await opaque.verify("abc")

    server.gate.set()
    assert (await opaque.verify("abc")).user == "ada"


async def test_what_is_known_outlives_the_silence(opaque: OpaqueTokens, server: Server) -> None:
    await opaque.verify("abc")

    server.status = 500

    assert (await opaque.verify("abc")).user == "ada"


@pytest.mark.parametrize("endpoint", [None, "http://id.example/introspect", "/introspect", 7])
async def test_an_issuer_that_names_no_safe_place_is_asked_nothing(
    opaque: OpaqueTokens, server: Server, endpoint: object
) -> None:
    server.endpoint = endpoint

    with pytest.raises(KeysUnavailable):
        await opaque.verify("abc")

    assert server.asked == []


async def test_where_it_is_asked_may_be_set(server: Server, clock: Clock, monotonic: Clock) -> None:
    opaque = verifier_of(server, clock, monotonic, url="https://other.example/ask")

    await opaque.verify("abc")

    assert str(server.asked[0].url) == "https://other.example/ask"
    assert server.discovered == 0


async def test_closing_gives_up_what_is_under_way(opaque: OpaqueTokens, server: Server) -> None:
    server.gate.clear()
    waiting = asyncio.create_task(opaque.verify("abc"))
    await server.arrivals(1)

    await opaque.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
