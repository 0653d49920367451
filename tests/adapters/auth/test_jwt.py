"""Who vouches for a token, and what no token may do: the table A of threats, as far as it is about the token itself."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.auth.claims import LEEWAY
from adapters.auth.compact import encode, read
from adapters.auth.jwt import MAX_VERDICTS, HmacVerifier, Verifiers
from adapters.auth.mint import mint
from domain.errors import NotAuthenticated
from domain.tenants import Principal
from tests.adapters.auth.tokens import GOOD_CLAIMS, NOW, SECRET, Clock, by_secret, hs256, private_key, token

pytestmark = pytest.mark.anyio

GOOD_HEADER = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifiers(clock: Clock) -> Verifiers:
    return Verifiers([HmacVerifier(SECRET, clock)], clock)


async def refusal_of(verifiers: Verifiers, text: str) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as caught:
        await verifiers.verify(text)
    return caught.value


async def test_a_good_token_speaks_for_its_user(verifiers: Verifiers) -> None:
    text = mint(SECRET, "ada", tenants=["acme"], groups={"acme": "staff"}, lifetime=3600, now=NOW, scopes=["a", "b"])

    who = await verifiers.verify(text)

    assert who == Principal("ada", frozenset({"acme"}), {"acme": "staff"}, frozenset({"a", "b"}))


# A1: the algorithm is the verifier's, never the token's.


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "", "HS384", "HS512", "hs256", "RS256", "ES256", None, 7, ["HS256"]]
)
@pytest.mark.parametrize("signature", [by_secret(SECRET), lambda _: b"", lambda _: b"\0"])
async def test_no_other_algorithm_is_taken(verifiers: Verifiers, alg: object, signature: Any) -> None:
    refusal = await refusal_of(verifiers, token({"alg": alg, "typ": "JWT"}, GOOD_CLAIMS, signature))

    assert refusal.reason == "invalid_token"


async def test_a_token_must_name_its_algorithm(verifiers: Verifiers) -> None:
    await refusal_of(verifiers, token({"typ": "JWT"}, GOOD_CLAIMS, by_secret(SECRET)))


# A3


@pytest.mark.parametrize("secret", [b"", b"abc", b"x" * 31])
def test_a_short_secret_is_refused_before_anything_runs(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HmacVerifier(secret, Clock())


async def test_a_token_signed_with_another_secret_is_refused(verifiers: Verifiers) -> None:
    for secret in (b"", b"another secret of at least 32 bytes", SECRET[:-1], SECRET.upper()):
        refusal = await refusal_of(verifiers, token(GOOD_HEADER, GOOD_CLAIMS, by_secret(secret)))

        assert refusal.message == "The token's signature is not right."


# A4: keys that a token brings along are not looked at. (That nothing is fetched either: test_jwks.py.)


@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/certificate"},
        {"jwk": {"kty": "oct", "k": encode(b"mine" * 8)}},
        {"x5c": ["MIIB"]},
        {"jku": ["not", "even", "text"], "x5c": 7},
    ],
)
async def test_a_key_in_the_header_is_ignored(verifiers: Verifiers, extra: dict[str, object]) -> None:
    forged = token(GOOD_HEADER | extra, GOOD_CLAIMS, by_secret(b"mine" * 8))

    assert (await verifiers.verify(hs256(GOOD_CLAIMS, **extra))).user == "ada"
    await refusal_of(verifiers, forged)


# A5


@pytest.mark.parametrize("kid", ["", "k" * 257, "k" * 6000, "a\nb", "a b", "é", "\0", 7, [], {}, True])
async def test_a_kid_that_is_no_plain_name_is_refused(verifiers: Verifiers, kid: object) -> None:
    await refusal_of(verifiers, hs256(GOOD_CLAIMS, kid=kid))


@pytest.mark.parametrize("crit", [[], ["exp"], ["b64"], "exp", None])
async def test_an_extension_that_must_be_understood_is_refused(verifiers: Verifiers, crit: object) -> None:
    await refusal_of(verifiers, hs256(GOOD_CLAIMS, crit=crit, b64=True))


# A8


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
async def test_access_tokens_are_taken(verifiers: Verifiers, typ: str) -> None:
    assert (await verifiers.verify(hs256(GOOD_CLAIMS, typ=typ))).user == "ada"


@pytest.mark.parametrize("typ", ["dpop+jwt", "secevent+jwt", "logout+jwt", "JWE", "", None, 7, ["JWT"]])
async def test_a_token_made_for_something_else_is_refused(verifiers: Verifiers, typ: object) -> None:
    await refusal_of(verifiers, hs256(GOOD_CLAIMS, typ=typ))


async def test_a_token_need_not_say_its_type(verifiers: Verifiers) -> None:
    text = token({"alg": "HS256"}, GOOD_CLAIMS, by_secret(SECRET))

    assert (await verifiers.verify(text)).user == "ada"


# A9


@pytest.mark.parametrize(
    "claims",
    [
        b'{"sub":"ada","sub":"admin","exp":%d}' % (NOW + 60),
        b'{"sub":"ada","exp":%d,"exp":%d}' % (NOW - 60, NOW + 60),
        b'{"sub":"ada","exp":%d,"groups":{"acme":"guests","acme":"staff"}}' % (NOW + 60),
        b'{"sub":"ada","s\\u0075b":"admin","exp":%d}' % (NOW + 60),
    ],
)
async def test_a_claim_that_comes_twice_is_refused(verifiers: Verifiers, claims: bytes) -> None:
    await refusal_of(verifiers, hs256(claims))


async def test_a_header_member_that_comes_twice_is_refused(verifiers: Verifiers) -> None:
    await refusal_of(verifiers, token(b'{"alg":"none","alg":"HS256"}', GOOD_CLAIMS, by_secret(SECRET)))


# A10, A11: malformed in every way, and refused in one.

CLAIMS = json.dumps(GOOD_CLAIMS).encode()
GOOD = hs256(GOOD_CLAIMS)
MALFORMED = {
    "nothing": "",
    "no dots": "abc",
    "two parts": GOOD.rpartition(".")[0],
    "no signature": GOOD.rpartition(".")[0] + ".",
    "four parts": GOOD + ".x",
    "a JWE": ".".join([GOOD, "a", "b"]),
    "padding": GOOD + "==",
    "padding inside": GOOD.replace(".", "=.", 1),
    "leading white space": " " + GOOD,
    "trailing newline": GOOD + "\n",
    "white space inside": GOOD.replace(".", ". ", 1),
    "bits left over": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "impossible length": GOOD + "x" * 2,
    "plain base64": GOOD[:-2] + "+/",
    "too long": hs256(GOOD_CLAIMS | {"padding": "x" * 8192}),
    "not ASCII": GOOD + "\xff",
    "full-width": GOOD[:-1] + "\uff21",
    "a lone surrogate": GOOD + "\ud800",
    "NUL": GOOD + "\0",
    "deep header": token(b'{"alg":' + b"[" * 2500, GOOD_CLAIMS, by_secret(SECRET)),
    "deep claims": hs256(b'{"a":' + b"[" * 2500 + b"]" * 2500 + b"}"),
    "huge number": hs256(b'{"sub":"ada","exp":' + b"1" * 5000 + b"}"),
    "NaN": hs256(b'{"sub":"ada","exp":%d,"more":NaN}' % (NOW + 60)),
    "Infinity": hs256(b'{"sub":"ada","exp":%d,"more":-Infinity}' % (NOW + 60)),
    "UTF-16": hs256(json.dumps(GOOD_CLAIMS).encode("utf-16")),
    "a BOM": hs256(b"\xef\xbb\xbf" + CLAIMS),
    "not UTF-8": hs256(b'{"sub":"\xff","exp":%d}' % (NOW + 60)),
    "a list": hs256([GOOD_CLAIMS]),
    "a string": hs256("ada"),
    "null": hs256(None),
    "no JSON": hs256(b"ada"),
    "trailing junk": hs256(CLAIMS + b"x"),
    "header no object": token(["HS256"], GOOD_CLAIMS, by_secret(SECRET)),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_token_is_refused_and_never_repeated(verifiers: Verifiers, text: str) -> None:
    refusal = await refusal_of(verifiers, text)

    assert refusal.reason == "invalid_token"
    assert refusal.code == "invalid_api_key"
    assert len(text) < 4 or text not in refusal.message


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", fullmatch=True))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        read(text)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(min_size=1, max_size=64))
def test_any_bytes_in_the_parts_are_either_read_or_refused(head: bytes, claims: bytes, signature: bytes) -> None:
    with pytest.raises(NotAuthenticated):
        read(f"{encode(head)}.{encode(claims)}.{encode(signature)}")


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("ABCXYZabcxyz019-_"))
def test_a_token_with_one_character_changed_is_refused(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]

    if changed != GOOD:
        with pytest.raises(NotAuthenticated):
            run_verify(changed)


def run_verify(text: str) -> None:
    verifier = HmacVerifier(SECRET, Clock())
    unverified = read(text)
    if not verifier.takes(unverified):
        raise NotAuthenticated("of another algorithm")
    with pytest.raises(StopIteration):
        verifier.verify(unverified).send(None)


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"exp": NOW - 60}, "The token has expired."),
        ({"nbf": NOW + 60}, "The token is not good yet."),
        ({"sub": ""}, "The token names no user."),
        ({"cnf": {"jkt": "x"}}, "The token is bound to a key, and is no bearer token."),
    ],
)
async def test_a_refusal_says_what_is_wrong(verifiers: Verifiers, claims: dict[str, object], sentence: str) -> None:
    refusal = await refusal_of(verifiers, hs256(GOOD_CLAIMS | claims))

    assert refusal.message == sentence


# A13, and what else a remembered verdict must not do.


async def test_tokens_with_a_common_beginning_are_different_identities(verifiers: Verifiers) -> None:
    one, other = hs256(GOOD_CLAIMS | {"sub": "ada"}), hs256(GOOD_CLAIMS | {"sub": "bob"})

    users = [(await verifiers.verify(text)).user for text in (one, other, one, other)]

    assert one[:40] == other[:40]
    assert users == ["ada", "bob", "ada", "bob"]


async def test_a_remembered_token_expires_when_it_says(verifiers: Verifiers, clock: Clock) -> None:
    text = hs256(GOOD_CLAIMS | {"exp": NOW + 5})
    await verifiers.verify(text)

    clock.now = NOW + 4 + LEEWAY
    assert (await verifiers.verify(text)).user == "ada"

    clock.now = NOW + 5 + LEEWAY
    assert (await refusal_of(verifiers, text)).message == "The token has expired."


class Counting:
    """A verifier that counts how often it was asked, and stands by its word while ``good``."""

    def __init__(self, clock: Clock) -> None:
        self.asked = 0
        self.good = True
        self._inner = HmacVerifier(SECRET, clock)

    def takes(self, token: Any) -> bool:
        return True

    async def verify(self, token: Any) -> Any:
        self.asked += 1
        return replace(await self._inner.verify(token), stands=lambda: self.good)


async def test_a_token_is_judged_once_until_it_expires(clock: Clock) -> None:
    counting = Counting(clock)
    verifiers = Verifiers([counting], clock)
    text = hs256(GOOD_CLAIMS)

    for _ in range(10):
        await verifiers.verify(text)
        clock.now += 60

    assert counting.asked == 1


async def test_a_token_is_judged_again_once_nobody_stands_by_the_verdict(clock: Clock) -> None:
    counting = Counting(clock)
    verifiers = Verifiers([counting], clock)
    text = hs256(GOOD_CLAIMS)
    await verifiers.verify(text)

    counting.good = False
    for _ in range(2):
        await verifiers.verify(text)

    assert counting.asked == 3


async def test_a_refusal_is_not_remembered(clock: Clock) -> None:
    verifiers = Verifiers([HmacVerifier(SECRET, clock)], clock)
    text = hs256(GOOD_CLAIMS | {"nbf": NOW + 60})
    await refusal_of(verifiers, text)

    clock.now += 60

    assert (await verifiers.verify(text)).user == "ada"


async def test_only_so_many_verdicts_are_kept(clock: Clock) -> None:
    counting = Counting(clock)
    verifiers = Verifiers([counting], clock)
    first = hs256(GOOD_CLAIMS)
    await verifiers.verify(first)

    for number in range(MAX_VERDICTS):
        await verifiers.verify(hs256(GOOD_CLAIMS | {"jti": str(number)}))
    before = counting.asked
    await verifiers.verify(hs256(GOOD_CLAIMS | {"jti": str(MAX_VERDICTS - 1)}))
    await verifiers.verify(first)

    assert counting.asked == before + 1


async def test_a_token_of_nobody_here_is_refused(clock: Clock) -> None:
    refusal = await refusal_of(Verifiers([], clock), GOOD)

    assert refusal.message == "The token's issuer or algorithm is not accepted here."


# A2: what is public can never be taken for a secret.


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK"])
async def test_a_public_key_is_no_secret(verifiers: Verifiers, form: str) -> None:
    key = private_key("RSA")
    public = json.dumps(key.as_dict(private=False)).encode() if form == "JWK" else key.as_bytes(form, private=False)  # type: ignore[union-attr, arg-type]

    await refusal_of(verifiers, token(GOOD_HEADER, GOOD_CLAIMS, by_secret(public)))
