"""What an API key looks like, and whom it speaks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import keys
from domain.keys import ApiKey
from domain.tenants import Principal

ENTROPY = st.binary(min_size=32, max_size=32)
KEY = ApiKey("key-1", "d" * 64, "sk-sluice-abcdef", "acme", "staff", "ada", "CI", 1_000)


@given(ENTROPY)
def test_every_key_is_one(entropy: bytes) -> None:
    key = keys.make(entropy)

    assert key.startswith("sk-sluice-")
    assert len(key) == 59
    assert key[10:].isalnum()
    assert keys.is_key(key)


@given(ENTROPY, ENTROPY)
def test_no_two_are_the_same(one: bytes, other: bytes) -> None:
    assert (keys.make(one) == keys.make(other)) == (one == other)
    assert (keys.digest(keys.make(one)) == keys.digest(keys.make(other))) == (one == other)


@pytest.mark.parametrize("entropy", [b"", b"x" * 31, b"x" * 33])
def test_less_or_more_randomness_makes_none(entropy: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keys.make(entropy)


@given(ENTROPY, st.integers(10, 58), st.sampled_from("0aZ"))
def test_a_key_with_one_character_mistyped_is_none(entropy: bytes, place: int, character: str) -> None:
    key = keys.make(entropy)
    mistyped = key[:place] + character + key[place + 1 :]

    assert keys.is_key(mistyped) == (mistyped == key)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.upper(),
        lambda key: key.replace("sk-sluice-", "sk-"),
        lambda key: keys.digest(key),
        lambda key: keys.PREFIX + keys.digest(key)[:49],
        lambda key: key[:20] + "-" + key[21:],
        lambda key: key[:20] + "\uff21" + key[21:],
    ],
)
def test_what_does_not_look_like_a_key_is_none(change: "object") -> None:
    assert not keys.is_key(change(keys.make(bytes(range(32)))))  # type: ignore[operator]


def test_what_may_be_shown_of_a_key_is_how_it_begins() -> None:
    key = keys.make(bytes(range(32)))

    assert keys.start(key) == key[:16]


def test_a_key_speaks_for_one_user_in_one_group_of_one_tenant() -> None:
    key = replace(KEY, scopes=frozenset({"sluice:read"}))

    assert key.principal() == Principal("ada", frozenset({"acme"}), {"acme": "staff"}, frozenset({"sluice:read"}))


@pytest.mark.parametrize(
    ("expires", "now", "good"), [(None, 9e9, True), (2_000, 1_999.9, True), (2_000, 2_000.0, False)]
)
def test_a_key_is_good_until_it_expires(expires: int | None, now: float, good: bool) -> None:
    assert replace(KEY, expires=expires).is_good(now) is good
