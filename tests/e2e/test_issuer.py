"""Bearer tokens of an OpenID issuer, which the gateway asks for its keys over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.adapters.auth.issuer import FakeIssuer
from tests.adapters.auth.tokens import by_key, private_key, published, token
from tests.e2e.conftest import Start
from tests.gateway import GatewayProcess

pytestmark = pytest.mark.e2e

AUDIENCE = "sluice"


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    async with FakeIssuer.started() as running:
        yield running


@pytest.fixture
async def gateway(start: Start, issuer: FakeIssuer) -> GatewayProcess:
    issued = {"SLUICE_JWT_ISSUER": issuer.address, "SLUICE_JWT_AUDIENCE": AUDIENCE}
    return await asyncio.to_thread(start, **issued)


def signed(issuer: FakeIssuer, kind: str, alg: str, **claims: object) -> str:
    """A token for user u1 of tenant acme, from this issuer, for us, good for a minute, unless the claims say else."""
    told = {
        "iss": issuer.address,
        "aud": AUDIENCE,
        "sub": "u1",
        "tenants": ["acme"],
        "groups": {"acme": "staff"},
        "exp": int(time.time()) + 60,
        **claims,
    }
    return token({"alg": alg, "kid": kind}, told, by_key(private_key(kind), alg))


async def ask(gateway: GatewayProcess, bearer: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(
            f"{gateway.origin}/acme/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "hello"}]},
            headers={"Authorization": f"Bearer {bearer}"},
        )


@pytest.mark.parametrize(("kind", "alg"), [("RSA", "RS256"), ("EC", "ES256"), ("OKP", "Ed25519")])
async def test_a_token_of_the_issuer_is_taken(gateway: GatewayProcess, issuer: FakeIssuer, kind: str, alg: str) -> None:
    issuer.keys = [published(private_key(kind), kid=kind)]

    answer = await ask(gateway, signed(issuer, kind, alg))

    assert answer.status_code == 200


async def test_the_keys_are_fetched_once_for_many_tokens(gateway: GatewayProcess, issuer: FakeIssuer) -> None:
    issuer.keys = [published(private_key("EC"), kid="EC")]

    answers = [await ask(gateway, signed(issuer, "EC", "ES256", jti=str(number))) for number in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "claims",
    [{"aud": "others"}, {"iss": "https://elsewhere.example"}, {"exp": 1}, {"exp": None}, {"sub": ""}],
)
async def test_a_token_that_is_not_for_us_or_not_good_now_is_401(
    gateway: GatewayProcess, issuer: FakeIssuer, claims: dict[str, object]
) -> None:
    issuer.keys = [published(private_key("EC"), kid="EC")]

    answer = await ask(gateway, signed(issuer, "EC", "ES256", **claims))

    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_token_for_another_tenant_is_403(gateway: GatewayProcess, issuer: FakeIssuer) -> None:
    issuer.keys = [published(private_key("EC"), kid="EC")]

    answer = await ask(gateway, signed(issuer, "EC", "ES256", tenants=["globex"], groups={}))

    assert (answer.status_code, answer.headers["x-error-code"]) == (403, "tenant_forbidden")


async def test_without_the_issuers_keys_nobody_is_judged_and_readiness_says_why(
    gateway: GatewayProcess, issuer: FakeIssuer
) -> None:
    issuer.mood = "500"

    answer = await ask(gateway, signed(issuer, "EC", "ES256"))
    async with httpx.AsyncClient() as client:
        ready = await client.get(f"{gateway.origin}/readyz")

    assert (answer.status_code, answer.headers["x-error-code"]) == (503, "service_unavailable")
    assert ready.status_code == 503
    assert ready.json()["checks"]["jwks"].startswith("the issuer")
