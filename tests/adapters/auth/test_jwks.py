"""Tokens of an OpenID issuer, and its keys over real HTTP: rotation, outages, floods."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from adapters.auth.issuer import MAX_BODY
from adapters.auth.jwks import AnyKeys, JwksCache, Pace
from adapters.auth.jwt import HmacVerifier, IssuerVerifier, Verifiers
from domain.errors import KeysUnavailable, NotAuthenticated
from domain.ports import Dependency, TokenVerifier
from tests.adapters.auth.issuer import FakeIssuer
from tests.adapters.auth.tokens import (
    GOOD_CLAIMS,
    NOW,
    SECRET,
    Clock,
    by_key,
    by_secret,
    hs256,
    private_key,
    published,
    token,
)

pytestmark = pytest.mark.anyio

PACE = Pace(timeout=2.0)


@pytest.fixture
def monotonic() -> Clock:
    return Clock(1000)


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    async with FakeIssuer.started() as started:
        started.keys = [published(private_key("RSA"), "k1")]
        yield started


@pytest.fixture
async def transport() -> AsyncIterator[httpx.AsyncBaseTransport]:
    async with httpx.AsyncHTTPTransport(trust_env=False) as opened:
        yield opened


@pytest.fixture
async def keys(issuer: FakeIssuer, transport: httpx.AsyncBaseTransport, monotonic: Clock) -> AsyncIterator[JwksCache]:
    cache = JwksCache(issuer.address, transport, clock=monotonic, pace=PACE)
    yield cache
    await cache.close()


@pytest.fixture
def verifiers(keys: JwksCache, issuer: FakeIssuer) -> Verifiers:
    clock = Clock()
    return Verifiers([HmacVerifier(SECRET, clock), IssuerVerifier(issuer.address, "sluice", keys, clock)], clock)


def signed(issuer: FakeIssuer, kind: str = "RSA", number: int = 0, *, alg: str = "RS256", **header: object) -> str:
    """A good token of the issuer, but for what is said otherwise."""
    claims = GOOD_CLAIMS | {"iss": issuer.address, "aud": "sluice"}
    by = by_key(private_key(kind, number), "Ed25519" if kind == "OKP" else alg)
    return token({"alg": alg, "typ": "at+jwt", "kid": "k1"} | header, claims, by)


def with_claims(issuer: FakeIssuer, **claims: object) -> str:
    good = GOOD_CLAIMS | {"iss": issuer.address, "aud": "sluice"}
    return token({"alg": "RS256", "kid": "k1"}, good | claims, by_key(private_key("RSA"), "RS256"))


async def settled() -> None:
    """Wait until nothing is being fetched in the background."""
    for task in asyncio.all_tasks():
        if task.get_name() == "jwks":
            await asyncio.wait([task], timeout=5)


async def test_the_ports_are_kept(verifiers: Verifiers, keys: JwksCache) -> None:
    verifier: TokenVerifier = verifiers
    dependency: Dependency = AnyKeys([keys])

    assert (verifier, dependency.name) == (verifiers, "jwks")
    assert await dependency.flaw() is None


@pytest.mark.parametrize(("kind", "alg"), [("RSA", "RS256"), ("EC", "ES256"), ("OKP", "EdDSA"), ("OKP", "Ed25519")])
async def test_a_token_of_the_issuer_is_taken(verifiers: Verifiers, issuer: FakeIssuer, kind: str, alg: str) -> None:
    issuer.keys = [published(private_key(kind), "k1", alg=alg)]

    assert (await verifiers.verify(signed(issuer, kind, alg=alg))).user == "ada"


async def test_a_secret_and_an_issuer_can_stand_side_by_side(verifiers: Verifiers, issuer: FakeIssuer) -> None:
    assert (await verifiers.verify(hs256(GOOD_CLAIMS))).user == "ada"
    assert issuer.fetches == 0
    assert (await verifiers.verify(signed(issuer))).user == "ada"


async def test_a_token_without_a_kid_is_tried_with_each_key_of_its_sort(
    verifiers: Verifiers, issuer: FakeIssuer
) -> None:
    issuer.keys = [
        published(private_key("EC"), "e"),
        published(private_key("RSA", 1), "a"),
        published(private_key("RSA")),
    ]

    for kid in (None, None):
        assert (await verifiers.verify(signed(issuer, kid=kid))).user == "ada"


# A1, A2: neither the header nor the key decides by itself what is verified how.


@pytest.mark.parametrize("alg", ["none", "HS256", "RS512", "PS256", "ES256", "EdDSA"])
async def test_the_key_decides_the_algorithm(verifiers: Verifiers, issuer: FakeIssuer, alg: str) -> None:
    with pytest.raises(NotAuthenticated):
        await verifiers.verify(
            token(
                {"alg": alg, "kid": "k1"},
                GOOD_CLAIMS | {"iss": issuer.address, "aud": "sluice"},
                by_key(private_key("RSA"), "RS256"),
            )
        )


async def test_an_issuers_public_key_is_no_secret(keys: JwksCache, issuer: FakeIssuer) -> None:
    verifiers = Verifiers([IssuerVerifier(issuer.address, "sluice", keys, Clock())], Clock())
    claims = GOOD_CLAIMS | {"iss": issuer.address, "aud": "sluice"}

    for form in ("PEM", "DER"):
        public = private_key("RSA").as_bytes(form, private=False)  # type: ignore[union-attr]
        with pytest.raises(NotAuthenticated):
            await verifiers.verify(token({"alg": "HS256", "kid": "k1"}, claims, by_secret(public)))


async def test_an_issuer_never_vouches_by_a_shared_secret(keys: JwksCache) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        IssuerVerifier("https://id.example", "sluice", keys, Clock(), algorithms=("RS256", "HS256"))


async def test_algorithms_can_be_left_out(keys: JwksCache, issuer: FakeIssuer) -> None:
    verifiers = Verifiers([IssuerVerifier(issuer.address, "sluice", keys, Clock(), algorithms=("ES256",))], Clock())

    with pytest.raises(NotAuthenticated):
        await verifiers.verify(signed(issuer))


# A4, A5


async def test_no_address_in_a_token_is_ever_asked(verifiers: Verifiers, issuer: FakeIssuer) -> None:
    async with FakeIssuer.started() as evil:
        evil.keys = [published(private_key("RSA", 1), "k1")]
        jwk = published(private_key("RSA", 1), "k1")
        for header in (
            {"jku": f"{evil.address}/keys"},
            {"x5u": f"{evil.address}/keys"},
            {"jwk": jwk},
            {"x5c": ["MIIB"]},
        ):
            with pytest.raises(NotAuthenticated):
                await verifiers.verify(signed(issuer, number=1, **header))
            assert (await verifiers.verify(signed(issuer, **header))).user == "ada"

        assert evil.asked == []


@pytest.mark.parametrize("kid", ["../../dev/null", "*", "k1'--", "K1", "k1/", "k" * 256])
async def test_a_strange_kid_is_only_ever_compared(verifiers: Verifiers, issuer: FakeIssuer, kid: str) -> None:
    with pytest.raises(NotAuthenticated):
        await verifiers.verify(signed(issuer, kid=kid))

    assert set(issuer.asked) == {"/.well-known/openid-configuration", "/keys"}


# A7


@pytest.mark.parametrize("audience", [None, "other", "sluic", "sluice-admin", ["other"], {"sluice": 1}, 7])
async def test_a_token_for_another_audience_is_refused(
    verifiers: Verifiers, issuer: FakeIssuer, audience: object
) -> None:
    with pytest.raises(NotAuthenticated, match="another audience"):
        await verifiers.verify(with_claims(issuer, aud=audience))


@pytest.mark.parametrize("name", [None, "", "https://id.example", [], 7, "{address}/", ["{address}"]])
async def test_a_token_of_another_issuer_is_refused(verifiers: Verifiers, issuer: FakeIssuer, name: object) -> None:
    if name == "{address}/":
        name = f"{issuer.address}/"
    elif name == ["{address}"]:
        name = [issuer.address]

    with pytest.raises(NotAuthenticated):
        await verifiers.verify(with_claims(issuer, iss=name))


async def test_the_claims_are_judged_as_with_any_token(verifiers: Verifiers, issuer: FakeIssuer) -> None:
    with pytest.raises(NotAuthenticated, match="has expired"):
        await verifiers.verify(with_claims(issuer, exp=NOW - 60))


# A14: whatever comes in, the issuer is asked seldom.


async def test_the_issuer_is_asked_once_however_many_wait(keys: JwksCache, issuer: FakeIssuer) -> None:
    found = await asyncio.gather(*(keys.find("k1", "RS256") for _ in range(50)))

    assert {len(each) for each in found} == {1}
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_flood_of_unknown_kids_costs_one_fetch_an_interval(
    verifiers: Verifiers, issuer: FakeIssuer, monotonic: Clock
) -> None:
    await verifiers.verify(signed(issuer))

    for minute in range(3):
        monotonic.now += PACE.rest
        answers = await asyncio.gather(
            *(verifiers.verify(signed(issuer, kid=f"x{n}")) for n in range(200)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {NotAuthenticated}
        assert issuer.fetches == 2 + minute
        assert (await verifiers.verify(with_claims(issuer, jti=str(minute)))).user == "ada"


async def test_whoever_stops_waiting_stops_nobody_else(keys: JwksCache, issuer: FakeIssuer) -> None:
    issuer.mood = "slow"
    impatient, patient = (asyncio.create_task(keys.find("k1", "RS256")) for _ in range(2))
    await asyncio.wait_for(issuer.called.wait(), 5)

    impatient.cancel()
    issuer.release.set()

    assert len(await patient) == 1
    assert impatient.cancelled()
    assert issuer.fetches == 1


# A15: rotation and outages.


async def test_a_new_key_works_within_one_refresh(verifiers: Verifiers, issuer: FakeIssuer, monotonic: Clock) -> None:
    await verifiers.verify(signed(issuer))
    issuer.keys.append(published(private_key("RSA", 1), "k2"))

    monotonic.now += PACE.rest

    assert (await verifiers.verify(signed(issuer, number=1, kid="k2"))).user == "ada"


async def test_a_removed_key_is_refused_after_the_refresh(
    keys: JwksCache, issuer: FakeIssuer, monotonic: Clock
) -> None:
    await keys.find("k1", "RS256")
    issuer.keys = [published(private_key("RSA", 1), "k2")]

    monotonic.now += PACE.fresh
    assert len(await keys.find("k1", "RS256")) == 1
    await settled()

    assert await keys.find("k1", "RS256") == ()


async def test_a_token_that_is_remembered_is_refused_once_its_key_was_taken_back(
    verifiers: Verifiers, issuer: FakeIssuer, monotonic: Clock
) -> None:
    text = signed(issuer)
    await verifiers.verify(text)
    issuer.keys = [published(private_key("RSA", 1), "k2")]

    monotonic.now += PACE.fresh
    assert (await verifiers.verify(text)).user == "ada"
    await settled()

    with pytest.raises(NotAuthenticated):
        await verifiers.verify(text)


async def test_a_token_stays_remembered_while_its_key_is_published_again_and_again(
    verifiers: Verifiers, issuer: FakeIssuer, monotonic: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = signed(issuer)
    await verifiers.verify(text)
    monkeypatch.setattr("adapters.auth.keys.PublicKey.verifies", None)

    for _ in range(3):
        monotonic.now += PACE.fresh
        assert (await verifiers.verify(text)).user == "ada"
        await settled()

    assert issuer.fetches == 4


async def test_a_token_that_is_remembered_is_not_good_for_longer_than_its_key(
    verifiers: Verifiers, issuer: FakeIssuer, monotonic: Clock
) -> None:
    text = signed(issuer)
    await verifiers.verify(text)
    issuer.mood = "500"

    monotonic.now += PACE.stale - 1
    assert (await verifiers.verify(text)).user == "ada"
    await settled()
    monotonic.now += 1 + PACE.rest

    with pytest.raises(KeysUnavailable):
        await verifiers.verify(text)


async def test_of_several_issuers_one_is_enough_to_be_ready(
    keys: JwksCache, issuer: FakeIssuer, transport: httpx.AsyncBaseTransport
) -> None:
    away = JwksCache("http://127.0.0.1:1", transport)

    both, none = AnyKeys([away, keys]), AnyKeys([away, away])

    assert await both.check() is None
    assert await none.check() == "the issuer could not be reached; the issuer could not be reached"


async def test_old_keys_serve_while_new_ones_are_asked_for(
    keys: JwksCache, issuer: FakeIssuer, monotonic: Clock
) -> None:
    await keys.find("k1", "RS256")
    issuer.mood = "slow"

    monotonic.now += PACE.fresh
    for _ in range(10):
        async with asyncio.timeout(0.5):
            assert len(await keys.find("k1", "RS256")) == 1


OUTAGES = {
    "down": "could not be reached",
    "slow": "did not answer in time",
    "500": "answered with status 500",
    "html": "did not answer with JSON",
    "deep": "did not answer with JSON",
    "huge": "answered with too much",
    "moved": "answered with status 302",
    "packed": "answered in an encoding that was not asked for",
}


@pytest.fixture
def hurried(issuer: FakeIssuer, transport: httpx.AsyncBaseTransport, monotonic: Clock) -> JwksCache:
    """A cache that gives up soon, so that slowness can be tested."""
    return JwksCache(issuer.address, transport, clock=monotonic, pace=Pace(timeout=0.3))


@pytest.mark.parametrize(("mood", "reason"), OUTAGES.items(), ids=OUTAGES)
async def test_old_keys_outlive_an_outage_until_they_are_too_old(
    hurried: JwksCache, issuer: FakeIssuer, monotonic: Clock, mood: str, reason: str
) -> None:
    await hurried.find("k1", "RS256")
    issuer.mood = mood

    monotonic.now += PACE.stale - 1
    assert len(await hurried.find("k1", "RS256")) == 1
    with pytest.raises(KeysUnavailable):
        await hurried.find("k2", "RS256")
    assert await hurried.check() is None

    monotonic.now += 1 + PACE.rest
    with pytest.raises(KeysUnavailable):
        await hurried.find("k1", "RS256")
    assert await hurried.check() == f"the issuer {reason}"


@pytest.mark.parametrize("mood", OUTAGES)
async def test_keys_come_back_soon_after_an_outage_at_the_start(
    hurried: JwksCache, issuer: FakeIssuer, monotonic: Clock, mood: str
) -> None:
    issuer.mood = mood
    with pytest.raises(KeysUnavailable):
        await hurried.find("k1", "RS256")
    asked = len(issuer.asked)

    issuer.mood = "good"
    with pytest.raises(KeysUnavailable):
        await hurried.find("k1", "RS256")
    assert len(issuer.asked) == asked
    monotonic.now += PACE.retry

    assert len(await hurried.find("k1", "RS256")) == 1
    assert await hurried.check() is None


async def test_a_huge_answer_is_not_read_to_its_end(keys: JwksCache, issuer: FakeIssuer) -> None:
    issuer.keys = [published(private_key("RSA"), "k1", comment="x" * MAX_BODY)]

    assert await keys.check() == "the issuer answered with too much"


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"issuer": "https://id.example"}, "calls itself by another name"),
        ({"issuer": None}, "calls itself by another name"),
        ({"jwks_uri": None}, "does not name an https address for its keys"),
        ({"jwks_uri": "http://id.example/keys"}, "does not name an https address for its keys"),
        ({"jwks_uri": "http://127.0.0.1.id.example/keys"}, "does not name an https address for its keys"),
        ({"jwks_uri": "file:///etc/passwd"}, "does not name an https address for its keys"),
        ({"jwks_uri": "http://[::1"}, "does not name an https address for its keys"),
        ({"jwks_uri": "/keys"}, "does not name an https address for its keys"),
    ],
)
async def test_a_configuration_that_cannot_be_trusted_is_not_followed(
    keys: JwksCache, issuer: FakeIssuer, configuration: dict[str, object], reason: str
) -> None:
    issuer.configuration |= configuration

    assert await keys.check() == f"the issuer {reason}"
    assert issuer.fetches == 0


async def test_an_issuer_without_usable_keys_is_not_ready(keys: JwksCache, issuer: FakeIssuer) -> None:
    issuer.keys = [published(private_key("RSA"), "k1", use="enc")]

    assert await keys.check() == "the issuer publishes no usable key"


@pytest.mark.parametrize(
    ("cache_control", "fresh"),
    [("max-age=60", 60), ("public, max-age=86400", PACE.fresh), ("max-age=0", PACE.rest), ("", PACE.fresh)],
)
async def test_keys_are_kept_as_long_as_the_issuer_says_within_bounds(
    keys: JwksCache, issuer: FakeIssuer, monotonic: Clock, cache_control: str, fresh: float
) -> None:
    issuer.headers = f"Cache-Control: {cache_control}\r\n"
    await keys.find("k1", "RS256")

    monotonic.now += fresh - 1
    await keys.find("k1", "RS256")
    assert issuer.fetches == 1
    monotonic.now += 1
    await keys.find("k1", "RS256")
    await settled()

    assert issuer.fetches == 2


@pytest.mark.parametrize(
    "address", ["http://id.example", "id.example", "", "ftp://id.example", "https://", "http://[::1", "https://\n"]
)
async def test_an_issuer_that_is_not_reached_over_https_is_refused(
    transport: httpx.AsyncBaseTransport, address: str
) -> None:
    with pytest.raises(ValueError, match="https"):
        JwksCache(address, transport)


async def test_an_issuer_on_loopback_may_do_without_tls(transport: httpx.AsyncBaseTransport) -> None:
    for address in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]:9", "https://id.example/tenant"):
        JwksCache(address, transport)


async def test_closing_gives_up_the_attempt_under_way(
    issuer: FakeIssuer, transport: httpx.AsyncBaseTransport, monotonic: Clock
) -> None:
    issuer.mood = "slow"
    cache = JwksCache(issuer.address, transport, clock=monotonic, pace=PACE)
    waiting = asyncio.create_task(cache.find("k1", "RS256"))
    await asyncio.wait_for(issuer.called.wait(), 5)

    await cache.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("seed", range(5))
async def test_a_random_walk_never_asks_too_often_and_never_trusts_too_old_a_key(
    keys: JwksCache, issuer: FakeIssuer, monotonic: Clock, seed: int
) -> None:
    walk = random.Random(seed)
    last_asked = last_good = float("-inf")

    for _ in range(150):
        monotonic.now += walk.choice([0, 1, 10, 40, 400, 4000])
        issuer.mood = walk.choice(["good", "good", "500", "html"])
        issuer.asked.clear()
        has_keys = monotonic.now < last_good + PACE.stale
        found: tuple[object, ...] = ()
        with suppress(KeysUnavailable):
            found = await keys.find(walk.choice(["k1", "k2", None]), "RS256")
        await settled()

        if issuer.asked:
            assert monotonic.now - last_asked >= (PACE.rest if has_keys else PACE.retry)
            last_asked = monotonic.now
            last_good = last_asked if issuer.mood == "good" else last_good
        assert not found or monotonic.now < last_good + PACE.stale
