"""Which of the keys that an issuer publishes are usable, and for what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.auth.compact import encode
from adapters.auth.keys import ALGORITHMS, MAX_KEYS, public_keys
from tests.adapters.auth.tokens import by_key, private_key, published

#: A modulus of 2,047 and one of 1,024 bits: too small to trust, whatever else they are.
SMALL, SMALLER = ((1 << 2046) + 1, (1 << 1023) + 1)


@pytest.mark.parametrize(("kind", "alg"), [("RSA", "RS256"), ("EC", "ES256"), ("OKP", "EdDSA"), ("OKP", "Ed25519")])
def test_a_key_verifies_what_its_private_half_signed(kind: str, alg: str) -> None:
    private = private_key(kind)
    signature = by_key(private, "Ed25519" if kind == "OKP" else alg)(b"signed")

    [key] = public_keys({"keys": [published(private, "k1", use="sig", alg=alg)]})

    assert key.suits("k1", alg)
    assert key.verifies(b"signed", signature)
    assert not key.verifies(b"forged", signature)


@pytest.mark.parametrize("signature", [b"", b"\0", b"\0" * 64, b"\xff" * 64, b"\0" * 256, b"x" * 5000])
@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
def test_a_signature_of_any_shape_is_at_worst_wrong(kind: str, signature: bytes) -> None:
    [key] = public_keys({"keys": [published(private_key(kind))]})

    assert not key.verifies(b"signed", signature)


def test_a_key_is_for_the_algorithms_of_its_type_alone() -> None:
    keys = public_keys({"keys": [published(private_key(kind), kind) for kind in ("RSA", "EC", "OKP")]})

    suited = {
        key.kid: [alg for alg in (*ALGORITHMS, "HS256", "none", "RS512", "PS256") if key.suits(None, alg)]
        for key in keys
    }

    assert suited == {"RSA": ["RS256"], "EC": ["ES256"], "OKP": ["EdDSA", "Ed25519"]}


def test_a_key_that_was_named_is_the_only_one_that_suits() -> None:
    one, other = public_keys({"keys": [published(private_key("RSA", n), f"k{n}") for n in (1, 2)]})

    assert one.suits("k1", "RS256")
    assert one.suits(None, "RS256")
    assert not other.suits("k1", "RS256")


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": encode(b"k" * 32), "alg": "HS256"},
        published(private_key("RSA"), use="enc"),
        published(private_key("RSA"), alg="HS256"),
        published(private_key("RSA"), alg="RSA-OAEP"),
        published(private_key("RSA"), alg=["RS256"]),
        published(private_key("RSA"), use=["sig"]),
        published(private_key("RSA"), key_ops=["encrypt"]),
        published(private_key("RSA"), key_ops="verify"),
        published(private_key("RSA"), crv="P-256"),
        published(private_key("RSA"), n=encode(SMALL.to_bytes(256))),
        published(private_key("RSA"), n=encode(b"\0" * 200 + SMALLER.to_bytes(128))),
        published(private_key("RSA"), n="not base64!"),
        published(private_key("RSA"), n=7),
        published(private_key("RSA"), n=None),
        published(private_key("RSA"), e=encode(b"\x01")),
        published(private_key("RSA"), e=encode(b"\x02")),
        dict(private_key("RSA").as_dict(private=True)),
        dict(private_key("EC").as_dict(private=True)),
        published(private_key("EC"), x=encode(b"\x01" * 32)),
        published(private_key("EC"), crv="P-999"),
        published(private_key("EC"), crv="secp256k1"),
        published(private_key("EC"), crv=["P-256"]),
        published(private_key("OKP"), crv="X25519"),
        published(private_key("OKP"), x=encode(b"\x01")),
        published(private_key("OKP"), kty=["OKP"]),
        {"kty": "RSA"},
        {},
        None,
        "RSA",
    ],
)
def test_an_unusable_key_is_left_out_and_spoils_nothing(entry: Any) -> None:
    good = published(private_key("RSA", 1), "good")

    assert [key.kid for key in public_keys({"keys": [entry, good]})] == ["good"]


@pytest.mark.parametrize("document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, {"keys": []}])
def test_a_document_without_keys_has_none(document: object) -> None:
    assert public_keys(document) == ()


def test_a_name_that_is_no_text_is_no_name() -> None:
    [key] = public_keys({"keys": [published(private_key("RSA")) | {"kid": 7}]})

    assert key.kid is None


def test_only_so_many_keys_are_looked_at() -> None:
    assert len(public_keys({"keys": [published(private_key("EC"))] * (MAX_KEYS + 1)})) == MAX_KEYS


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg", "key_ops"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()),
    )
)
def test_any_entry_is_either_used_or_left_out(entry: dict[str, object]) -> None:
    assert (
        len(public_keys({"keys": [published(private_key("EC")) | entry, published(private_key("RSA")) | entry]})) <= 2
    )
