"""The issuers' file: a table each, with the settings' claims where it names no others, and problems told at once."""

from pathlib import Path
from typing import Any

import pytest

from config.composition import CompositionError, build
from config.issuers import IssuersError, read_issuers
from config.settings import Settings

GOOD = '[{name}]\nissuer = "https://{name}.example"\naudience = "sluice"\n'


def settings(tmp_path: Path, text: str, **others: Any) -> Settings:
    file = tmp_path / "issuers.toml"
    file.write_text(text)
    return Settings.model_validate({"issuers": file, **others})


def test_without_a_file_there_is_the_issuer_of_the_settings_or_none() -> None:
    named = Settings(jwt_issuer="https://one.example", jwt_audience="sluice")

    assert read_issuers(Settings()) == []
    assert [(each.issuer, each.audience) for each in read_issuers(named)] == [("https://one.example", "sluice")]


def test_the_files_issuers_come_after_the_one_of_the_settings(tmp_path: Path) -> None:
    text = GOOD.format(name="b") + GOOD.format(name="a")

    found = read_issuers(settings(tmp_path, text, jwt_issuer="https://c.example", jwt_audience="x"))

    assert [each.issuer for each in found] == ["https://c.example", "https://b.example", "https://a.example"]


def test_a_table_may_say_how_its_tokens_are_read(tmp_path: Path) -> None:
    text = (
        GOOD.format(name="a")
        + 'algorithms = ["ES256"]\ntenants = ["acme", "acme-*"]\nscopes = []\nuser_prefix = "a."\n'
        + 'max_lifetime_seconds = 600\nclaims.user = "oid"\n'
    )

    (found,) = read_issuers(settings(tmp_path, text, jwt_group_claim="role"))

    assert (found.algorithms, found.tenants, found.scopes) == (("ES256",), ("acme", "acme-*"), ())
    assert (found.user_prefix, found.max_lifetime_seconds) == ("a.", 600)
    assert (found.claims.user, found.claims.group, found.claims.tenants) == ("oid", "role", "tenants")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("issuer = 1\n", "issuer: must be a table"),
        ("[a\n", "cannot be read (TOMLDecodeError)"),
        ('[a]\nissuer = "https://a.example"\n', "[a] audience: field required"),
        ('[a]\nissuer = "ftp://a"\naudience = "x"\n', "[a] issuer: must be an http or https URL"),
        (GOOD.format(name="a") + 'algorithms = ["HS256"]\n', "[a] algorithms.0: input should be"),
        (GOOD.format(name="a") + "algorithms = []\n", "[a] algorithms: must name one at least"),
        (GOOD.format(name="a") + 'secret = "s"\n', "[a] secret: extra inputs are not permitted"),
        (GOOD.format(name="a") + "claims = 7\n", "[a] claims: input should be"),
        (GOOD.format(name="a") + 'claims.colour = "x"\n', "[a] claims.colour: extra inputs are not permitted"),
        (GOOD.format(name="a") + '[b]\nissuer = "https://a.example"\naudience = "y"\n', "an issuer is named twice"),
    ],
)
def test_what_is_wrong_with_the_file_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(IssuersError) as error:
        read_issuers(settings(tmp_path, text))

    assert [each for each in error.value.problems if each.startswith(problem)]


def test_all_problems_come_at_once_and_no_replica_is_built(tmp_path: Path) -> None:
    text = '[a]\nissuer = "nonsense"\naudience = "x"\n[b]\naudience = ""\n'

    with pytest.raises(CompositionError) as error:
        build(settings(tmp_path, text))

    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("SLUICE_ISSUERS: [") for line in lines)


def test_an_issuer_in_plain_http_is_refused_off_the_loopback(tmp_path: Path) -> None:
    text = '[a]\nissuer = "http://a.example"\naudience = "x"\n'

    with pytest.raises(CompositionError, match="SLUICE_ISSUERS: the issuer must be an https address"):
        build(settings(tmp_path, text))


def test_every_issuer_and_the_secret_can_vouch(tmp_path: Path) -> None:
    text = GOOD.format(name="b") + GOOD.format(name="a")
    secret = "a secret of thirty-two bytes or so, made up"

    container = build(settings(tmp_path, text, jwt_secret=secret))

    assert len(container.vouchers()) == 3
    assert [check.name for check in container.checks()] == ["jwks"]
