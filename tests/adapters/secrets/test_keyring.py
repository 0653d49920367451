"""Key-encryption keys as they are written down."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from adapters.secrets.keyring import KeyringError, parse_keyring

ONE, OTHER = bytes(range(32)), bytes(range(224, 256))


def test_the_first_key_seals_and_all_open() -> None:
    ring = parse_keyring(f"2026:{b64encode(OTHER).decode()},2025:{b64encode(ONE).decode()}")

    assert ring.active == "2026"
    assert ring.keys == {"2026": OTHER, "2025": ONE}


def test_a_file_has_a_key_a_line_and_comments() -> None:
    lines = (
        "# since November",
        "",
        f" new:{urlsafe_b64encode(OTHER).decode()}  # safe",
        f"old:{b64encode(ONE).decode()}",
    )

    assert parse_keyring("\n".join(lines)).keys == {"new": OTHER, "old": ONE}


def test_padding_may_be_left_out() -> None:
    assert parse_keyring("a:" + b64encode(ONE).decode().rstrip("=")).keys == {"a": ONE}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must not be empty"),
        ("# nothing\n,\n", "must not be empty"),
        ("a:", "form"),
        ("secret", "form"),
        (b64encode(ONE).decode(), "form"),
        (f"a b:{b64encode(ONE).decode()}", "form"),
        (f"a:{b64encode(ONE).decode()}!", "form"),
        (f"a:{b64encode(ONE[:31]).decode()}", "not of 32 bytes"),
        (f"a:{b64encode(ONE + b'x').decode()}", "not of 32 bytes"),
        ("a:AAAAA", "not in base64"),
        (f"a:{b64encode(ONE).decode()},a:{b64encode(OTHER).decode()}", "two keys of the id a"),
    ],
)
def test_what_is_no_key_is_told_and_not_repeated(text: str, sentence: str) -> None:
    with pytest.raises(KeyringError, match=sentence) as error:
        parse_keyring(text)

    assert b64encode(ONE).decode()[:20] not in str(error.value)
