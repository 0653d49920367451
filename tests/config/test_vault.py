"""The keys that seal secrets, from settings to stores: what guards nothing keeps a replica from being built."""

from base64 import b64encode
from pathlib import Path

import pytest

from adapters.secrets.envelope import Envelope
from adapters.vault import UNLOCKED
from config.composition import CompositionError, build
from config.settings import SettingsError, read_settings

ONE, OTHER = (f"{name}:{b64encode(bytes(range(first, first + 32))).decode()}" for name, first in (("a", 0), ("b", 100)))
PLACEHOLDER = b64encode(b"change-me-change-me-change-me-ch").decode()


def test_without_keys_nothing_is_sealed() -> None:
    assert build(read_settings({})).vault() is UNLOCKED


def test_the_keys_come_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ONE}\n{OTHER}\n")

    for name, value in (("SLUICE_SECRET_KEYS", f"{ONE},{OTHER}"), ("SLUICE_SECRET_KEYS_FILE", str(file))):
        vault = build(read_settings({name: value})).vault()

        assert isinstance(vault, Envelope)
        assert (vault.keyring.active, list(vault.keyring.keys)) == ("a", ["a", "b"])


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("a:", "must be of the form"),
        (f"a:{b64encode(b'short').decode()}", "has a key that is not of 32 bytes"),
        (f"a:{b64encode(bytes(32)).decode()}", "key a is a pattern, not a secret"),
        (f"{ONE},b:{PLACEHOLDER}", "key b is a placeholder, not a secret"),
        (f"{ONE},{ONE}", "has two keys of the id a"),
    ],
)
def test_keys_that_guard_nothing_are_told_and_not_repeated(tmp_path: Path, keys: str, sentence: str) -> None:
    file = tmp_path / "keys"
    file.write_text(keys)

    for name, value in (("SLUICE_SECRET_KEYS", keys), ("SLUICE_SECRET_KEYS_FILE", str(file))):
        with pytest.raises(CompositionError, match=f"{name}: {sentence}") as error:
            build(read_settings({name: value}))
        assert not any(part.partition(":")[2] in str(error.value) for part in keys.split(",") if len(part) > 10)


def test_a_file_that_cannot_be_read_is_told() -> None:
    with pytest.raises(CompositionError, match=r"SLUICE_SECRET_KEYS_FILE: cannot be read \(FileNotFoundError\)"):
        build(read_settings({"SLUICE_SECRET_KEYS_FILE": "/nonexistent"}))


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"SLUICE_SECRET_KEYS": ""}, "SLUICE_SECRET_KEYS: must not be empty"),
        ({"SLUICE_SECRET_KEYS": ONE, "SLUICE_SECRET_KEYS_FILE": "/x"}, "cannot be set together"),
        ({"SLUICE_JWT_CLIENT_SECRET": ""}, "SLUICE_JWT_CLIENT_SECRET: must not be empty"),
        ({"SLUICE_JWT_CLIENT_SECRET": "s"}, "SLUICE_JWT_CLIENT_ID: belongs together"),
        ({"SLUICE_JWT_CLIENT_ID": "c", "SLUICE_JWT_CLIENT_SECRET": "s"}, "SLUICE_JWT_ISSUER: is required"),
    ],
)
def test_secrets_that_are_empty_or_stand_alone_are_refused(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read_settings(environment)
