"""Settings: from the environment and a file, wrong ones told all at once and never with their values."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from config.settings import PREFIX, Settings, SettingsError, read_settings
from config.strength import weakness

SECRET = "a secret of thirty-two bytes or so, made up"


def test_without_anything_set_it_listens_on_the_loopback_and_keeps_everything_in_memory() -> None:
    settings = read_settings({})

    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8080, None)


def test_variables_of_others_are_left_alone() -> None:
    settings = read_settings({"PATH": "/bin", "OPENAI_API_KEY": "sk-x"})

    assert settings == Settings()


def test_an_unknown_variable_is_an_error_that_names_the_likely_one() -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({"SLUICE_REDISURL": "redis://localhost"})

    assert error.value.problems == ["SLUICE_REDISURL: there is no such setting; did you mean SLUICE_REDIS_URL?"]


def test_all_problems_come_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({"SLUICE_PORT": "70000", "SLUICE_LOG_FORMAT": "xml", "SLUICE_HOTS": "x", "SLUICE_UPSTREAM": "x"})

    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "SLUICE_HOTS",
        "SLUICE_PORT",
        "SLUICE_UPSTREAM",
        "SLUICE_LOG_FORMAT",
    ]


def test_a_wrong_value_is_not_repeated_for_it_may_be_a_secret() -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({"SLUICE_JWT_SECRET": "hunter2", "SLUICE_PORT": "hunter3"})

    assert "hunter" not in str(error.value)


def test_secrets_do_not_show_in_a_printed_settings_object() -> None:
    settings = read_settings({"SLUICE_JWT_SECRET": SECRET, "SLUICE_REDIS_URL": "redis://:pass@localhost"})

    assert SECRET not in repr(settings)
    assert "pass" not in repr(settings)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    settings = read_settings({"SLUICE_REDIS_URL": "", "SLUICE_UPSTREAM": "", "SLUICE_REQUESTS_PER_MINUTE": ""})

    assert (settings.redis_url, settings.upstream, settings.requests_per_minute) == (None, None, None)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text('host = "0.0.0.0"\nport = 9000\n')

    settings = read_settings({"SLUICE_CONFIG": str(file), "SLUICE_PORT": "9001"})

    assert (settings.host, settings.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize("content", ["port = ", "\udcff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "sluice.toml"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(SettingsError, match="SLUICE_CONFIG: cannot be read"):
        read_settings({"SLUICE_CONFIG": str(file)})


def test_an_unknown_name_in_the_file_is_an_error_too(tmp_path: Path) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text("colour = 1\n")

    with pytest.raises(SettingsError, match="SLUICE_COLOUR: there is no such setting"):
        read_settings({"SLUICE_CONFIG": str(file)})


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="SLUICE_JWT_SECRET: must have 32 bytes at least"):
        read_settings({"SLUICE_JWT_SECRET": "x" * 31})


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ("", "must not be empty"),
        ("change-me-change-me-change-me-change-me", "is a placeholder"),
        ("Your_Secret_Here_0123456789abcdefghijkl", "is a placeholder"),
        ("x" * 64, "is a pattern"),
        ("0123456789" * 4, "is a pattern"),
        ("abcdefg" + "a" * 40, "is a pattern"),
    ],
)
def test_a_secret_that_anybody_could_guess_is_refused(secret: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=f"SLUICE_JWT_SECRET: {sentence}"):
        read_settings({"SLUICE_JWT_SECRET": secret})


@given(st.binary(min_size=32, max_size=32))
def test_a_random_secret_is_taken(secret: bytes) -> None:
    assume(len(set(secret)) >= 8)

    assert weakness(secret) is None


def test_an_issuer_needs_an_audience() -> None:
    with pytest.raises(SettingsError, match="SLUICE_JWT_AUDIENCE"):
        read_settings({"SLUICE_JWT_ISSUER": "https://login.example"})


def test_every_setting_can_be_set_by_a_variable() -> None:
    defaults = Settings().model_dump()

    for name, value in defaults.items():
        if isinstance(value, bool | int | float):
            read_settings({PREFIX + name.upper(): str(value)})
