"""The gateway before a real, certified auth server: signed tokens, opaque ones, revocation, keys that change."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from adapters.auth.claims import LEEWAY
from adapters.auth.jwks import JwksCache, Pace
from adapters.auth.jwt import IssuerVerifier, Verifiers
from adapters.openai.transport import PooledTransport
from domain.errors import NotAuthenticated
from domain.ports import Clock
from tests.contracts.backends import eventually
from tests.e2e.conftest import TENANT, Start
from tests.fakes import FrozenClock
from tests.gateway import GatewayProcess
from tests.oidc import GATEWAY, AuthServer, Form, auth_server

pytestmark = pytest.mark.e2e

#: Seconds for which the gateway believes what it was told of an opaque token.
BELIEVED = 0.5
ISSUERS = """
[server]
issuer = "{address}"
audience = "sluice"
claims.user = "client_id"
client_id = "{client[0]}"
client_secret = "{client[1]}"
"""


@pytest.fixture(scope="session")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthServer]:
    with auth_server(tmp_path_factory.mktemp("oidc")) as running:
        yield running


@pytest.fixture
def gateway(start: Start, issuing: AuthServer, tmp_path: Path) -> GatewayProcess:
    """A gateway that takes tokens of its secret, too."""
    file = tmp_path / "issuers.toml"
    file.write_text(ISSUERS.format(address=issuing.address, client=GATEWAY))
    return start(SLUICE_ISSUERS=str(file), SLUICE_INTROSPECTION_SECONDS=str(BELIEVED))


async def ask(gateway: GatewayProcess, token: str, method: str = "POST") -> httpx.Response:
    path = "chat/completions" if method == "POST" else "models"
    body = {"messages": [{"role": "user", "content": "hello"}]} if method == "POST" else None
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {token}"}
        return await client.request(method, f"{gateway.origin}/{TENANT}/v1/{path}", headers=headers, json=body)


@pytest.mark.parametrize("form", ["rs256", "es256", "opaque"])
async def test_a_token_of_the_server_is_taken_for_what_it_is_for(
    gateway: GatewayProcess, issuing: AuthServer, form: Form, redis: object
) -> None:
    full, reading = issuing.token(form), issuing.token(form, scopes=["sluice:read"])
    foreign = issuing.token(form, audience="others")

    models = [(await ask(gateway, token, "GET")).status_code for token in (full, reading, foreign)]
    asked = [(await ask(gateway, token)).headers["x-error-code"] for token in (reading, foreign)]

    assert models == [200, 200, 401]
    assert asked == ["insufficient_scope", "invalid_api_key"]


async def test_an_opaque_token_is_refused_soon_after_it_was_revoked(
    gateway: GatewayProcess, issuing: AuthServer
) -> None:
    token, other = issuing.token("opaque"), issuing.token("opaque")
    assert (await ask(gateway, token, "GET")).status_code == 200

    issuing.revoke(token)
    await asyncio.sleep(BELIEVED)

    refused = await ask(gateway, token, "GET")
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert (await ask(gateway, other, "GET")).status_code == 200


async def test_an_opaque_token_is_not_asked_about_with_each_request(
    gateway: GatewayProcess, issuing: AuthServer
) -> None:
    token = issuing.token("opaque")
    asked = issuing.asked("/token/introspection")
    begun = time.monotonic()

    answers = await asyncio.gather(*(ask(gateway, token, "GET") for _ in range(30)))

    assert {answer.status_code for answer in answers} == {200}
    assert issuing.asked("/token/introspection") - asked <= 1 + (time.monotonic() - begun) / BELIEVED


async def test_tokens_that_nobody_issued_are_refused(gateway: GatewayProcess, issuing: AuthServer) -> None:
    signed = issuing.token("rs256")

    for token in ("made-up", signed[:-8] + "AAAAAAAA", signed.partition(".")[2]):
        assert (await ask(gateway, token, "GET")).status_code == 401


@asynccontextmanager
async def verifying(issuing: AuthServer, pace: Pace, clock: Clock = time.time) -> AsyncIterator[Verifiers]:
    """A verifier of the gateway's own parts, which asks for keys more often than that would."""
    transport = PooledTransport()
    keys = JwksCache(issuing.address, transport, pace=pace)
    yield Verifiers([IssuerVerifier(issuing.address, "sluice", keys, clock)], clock)
    await keys.close()
    await transport.aclose()


@pytest.mark.parametrize("form", ["rs256", "es256"])
async def test_keys_may_change_while_tokens_are_verified(issuing: AuthServer, form: Form) -> None:
    pace = Pace(fresh=0.3, rest=0.1)
    async with verifying(issuing, pace) as verifiers:
        old = issuing.token(form)
        assert (await verifiers.verify(old)).tenants == {TENANT}

        issuing.rotate()
        new = issuing.token(form)
        await asyncio.sleep(pace.rest)
        assert (await verifiers.verify(new)).tenants == {TENANT}
        assert (await verifiers.verify(old)).tenants == {TENANT}

        issuing.retire()
        await eventually(lambda: refused(verifiers, old), seconds=5)
        assert (await verifiers.verify(new)).tenants == {TENANT}


async def refused(verifiers: Verifiers, token: str) -> bool:
    try:
        await verifiers.verify(token)
    except NotAuthenticated:
        return True
    return False


async def test_a_token_ends_when_the_server_says_give_or_take_the_leeway(issuing: AuthServer) -> None:
    clock = FrozenClock(time.time())
    async with verifying(issuing, Pace(), clock) as verifiers:
        token = issuing.token("es256", seconds=5)
        clock.advance(5 + LEEWAY - 3)
        assert (await verifiers.verify(token)).user == "robot"

        clock.advance(5)

        assert await refused(verifiers, token)
