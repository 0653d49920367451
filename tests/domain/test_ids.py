"""One alphabet for ids, and a user id for every subject."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.ids import is_id, user_id


@pytest.mark.parametrize("text", ["a", "acme", "A.b_c@d-9", "0", "x" * 128, "ann@example.com"])
def test_letters_digits_and_four_signs_make_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 129,
        "a:b",
        "a{b}",
        "a/b",
        "a b",
        "a\n",
        "\na",
        "a\x00",
        "ä",
        "\uff41",
        "*",
        "a|b",
        "a%2f",
        None,
        7,
        b"acme",
    ],
)
def test_nothing_else_does(text: object) -> None:
    assert not is_id(text)


def test_a_subject_that_is_an_id_is_the_users_id() -> None:
    assert user_id("ann@example.com") == "ann@example.com"


def test_a_subject_that_is_no_id_gets_one_of_its_own() -> None:
    # The digest is part of balances' keys: it must never change.
    assert user_id("auth0|5f7c") == "sub-662dd0a5965afa2fc4523919f762c1fc"


@example("\ud800", "\udfff")
@example("auth0|5f7c", "sub-662dd0a5965afa2fc4523919f762c1fc")
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_two_subjects_never_share_an_id(one: str, other: str) -> None:
    ids = user_id(one), user_id(other)

    assert all(is_id(it) for it in ids)
    assert (ids[0] == ids[1]) == (one == other)
