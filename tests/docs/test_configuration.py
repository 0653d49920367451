"""Settings, catalogue files, tenant documents and claims: all of them documented, with the defaults that they have."""

import dataclasses
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from adapters import documents
from adapters.auth.claims import ClaimMap
from adapters.auth.jwt import HmacVerifier, Verifiers
from adapters.catalogue import load_models, load_providers
from adapters.documents import parse_tenant
from config.issuers import Claims, IssuerSettings, read_issuers
from config.settings import PREFIX, Settings, read_settings
from domain.images import ImageRule
from domain.models import Model
from domain.providers import ProviderSpec, Quirks
from domain.tenants import Limits, Principal
from tests.docs.pages import CHECKOUT, Row, codes, only_code, page

CONFIGURATION = page("docs/configuration.md")
SETTINGS = CONFIGURATION.section("Settings").rows("variable", "type", "default")
SECRET = "a secret that only the tests know, 32 bytes and more"

#: Their addresses are URLs, which the type alone does not tell.
URLS = {"upstream", "traces_url", "jwt_issuer"}


# --- settings -----------------------------------------------------------------------------------------------------


def test_every_setting_is_documented_once() -> None:
    documented = [only_code(row["variable"]) for row in SETTINGS]

    assert documented == [PREFIX + name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: only_code(row["variable"]))
def test_a_setting_has_the_type_and_the_default_that_are_documented(row: Row) -> None:
    name = only_code(row["variable"]).removeprefix(PREFIX).lower()
    field = Settings.model_fields[name]

    assert row["type"] == ("URL" if name in URLS else type_of(field))
    assert row["default"] == default_of(field)


@pytest.mark.parametrize(
    "row", page("README.md").rows("variable", "default"), ids=lambda row: only_code(row["variable"])
)
def test_the_readmes_settings_are_those_of_the_full_table(row: Row) -> None:
    full = {known["variable"]: known["default"] for known in SETTINGS}

    assert row["default"] == full[row["variable"]]


def test_every_variable_that_any_page_names_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"SLUICE_CONFIG", "SLUICE_"}

    for path in (CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")):
        named = {word for word in page(str(path.relative_to(CHECKOUT))).words if word.startswith(PREFIX)}
        assert {word for word in named if not word.endswith("*") and word not in known} == set()


def test_the_example_of_a_settings_file_is_one(tmp_path: Path) -> None:
    (example,) = CONFIGURATION.section("The settings file").blocks("toml")
    (tmp_path / "sluice.toml").write_text(example)

    settings = read_settings({"SLUICE_CONFIG": str(tmp_path / "sluice.toml"), "SLUICE_PORT": "9000"})

    assert settings.drain_seconds == 45
    assert settings.port == 9000


def type_of(field: FieldInfo) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        *first, last = (f"`{value}`" for value in get_args(field.annotation))
        return f"{', '.join(first)} or {last}"
    names = {str: "text", int: "integer", float: "number", bool: "flag", Path: "path", SecretStr: "secret"}
    return names[kinds[0]] + bounds_of(field)


def bounds_of(field: FieldInfo) -> str:
    least = next((each.ge for each in field.metadata if isinstance(each, annotated_types.Ge)), None)
    above = next((each.gt for each in field.metadata if isinstance(each, annotated_types.Gt)), None)
    most = next((each.le for each in field.metadata if isinstance(each, annotated_types.Le)), None)
    if above is not None:
        return f", above {above}"
    if most is not None:
        return f", {least} to {most}"
    return f", {least} or more" if least is not None else ""


def default_of(field: FieldInfo) -> str:
    if field.default is None:
        return "unset"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


# --- issuers ------------------------------------------------------------------------------------------------------


def test_every_field_of_an_issuer_is_documented() -> None:
    rows = CONFIGURATION.section("Issuers").rows("field", "type", "default")

    assert [only_code(row["field"]) for row in rows] == list(IssuerSettings.model_fields)
    assert codes(next(row["meaning"] for row in rows if row["field"] == "`claims`")) == list(Claims.model_fields)


def test_the_example_of_an_issuers_file_is_one(tmp_path: Path) -> None:
    (example,) = CONFIGURATION.section("Issuers").blocks("toml")
    (tmp_path / "issuers.toml").write_text(example)

    found = read_issuers(Settings(issuers=tmp_path / "issuers.toml"))

    assert [each.issuer for each in found] == [table["issuer"] for table in tomllib.loads(example).values()]


# --- the catalogue's files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "made", "left_out", "renamed"),
    [
        ("Provider files", (ProviderSpec, Quirks), {"id", "owner"}, {}),
        ("Model files", (Model, ImageRule), {"name"}, {"names": "providers"}),
    ],
)
def test_every_field_of_the_catalogues_files_is_documented_with_its_default(
    section: str, made: tuple[type[Any], type[Any]], left_out: set[str], renamed: Mapping[str, str]
) -> None:
    rows = CONFIGURATION.section(section).rows("field", "type", "default")

    fields = [field for each in made for field in dataclasses.fields(each) if field.name not in left_out]

    assert [only_code(row["field"]) for row in rows] == [renamed.get(field.name, field.name) for field in fields]
    assert [row["default"] for row in rows] == [documented_default(field) for field in fields]


def test_the_examples_of_catalogue_files_load_over_the_shipped_ones(tmp_path: Path) -> None:
    (providers,) = CONFIGURATION.section("Provider files").blocks("toml")
    (models,) = CONFIGURATION.section("Model files").blocks("toml")
    (tmp_path / "providers.toml").write_text(providers)
    (tmp_path / "models.toml").write_text(models)

    specs = load_providers(CHECKOUT / "config/providers.toml", tmp_path / "providers.toml")
    catalogue = load_models(CHECKOUT / "config/models.toml", tmp_path / "models.toml")

    assert specs["house"].models == "any"
    assert specs["openai"].name == "OpenAI"
    assert specs["openai"].base_url == tomllib.loads(providers)["openai"]["base_url"]
    assert any("house" in model.names for model in catalogue)


def documented_default(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "none"
    if field.default is dataclasses.MISSING:
        return "required"
    return "none" if field.default in (None, (), Quirks()) else f"`{field.default}`"


# --- tenant documents ---------------------------------------------------------------------------------------------


def test_every_key_of_a_tenant_document_is_documented() -> None:
    documented = [only_code(row["key"]) for row in CONFIGURATION.section("The tenant document").rows("key", "default")]

    parts = {
        "groups.*": documents._Group.model_fields,
        "models.*": documents._Model.model_fields,
        "limits": documents._Limits.model_fields,
        "routes.*": documents._Route.model_fields,
        "providers.*": documents._Provider.model_fields,
    }
    known: list[str] = []
    for key in documents._Document.model_fields:
        known.append(key)
        known += [f"{part}.{inner}" for part in parts if part.split(".")[0] == key for inner in parts[part]]

    assert documented == known


@pytest.mark.parametrize("name", ["docs/configuration.md", "docs/providers.md"])
def test_every_example_of_a_tenant_document_is_one(name: str) -> None:
    for example in page(name).blocks("json"):
        tenant = parse_tenant("acme", example.encode(), Limits(requests_per_minute=1, tokens_per_minute=1))

        assert tenant.groups
        assert tenant.default_provider in tenant.api_keys


def test_the_fuller_example_has_every_key() -> None:
    fuller = json.loads(CONFIGURATION.section("The tenant document").blocks("json")[-1])

    assert list(fuller) == list(documents._Document.model_fields)
    assert set(fuller["models"]["house-gpt"]) == set(documents._Model.model_fields)
    assert set(fuller["routes"][0]) == set(documents._Route.model_fields)


# --- claims -------------------------------------------------------------------------------------------------------


def test_every_claim_is_documented() -> None:
    rows = CONFIGURATION.section("Token claims").rows("claim", "meaning")

    documented = {name for row in rows for name in codes(row["claim"])}

    assert documented == {*dataclasses.asdict(ClaimMap()).values(), "exp", "nbf", "iat", "iss", "aud"}


@pytest.fixture
def made() -> str:
    """What the snippet prints."""
    (snippet,) = CONFIGURATION.section("Token claims").blocks("python")
    environment = {**os.environ, "SLUICE_JWT_SECRET": SECRET}
    command = [sys.executable, "-c", snippet]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


async def test_the_snippet_makes_a_token_that_the_gateway_takes(made: str) -> None:
    verifier = Verifiers([HmacVerifier(SECRET.encode(), time.time)], time.time)

    principal = await verifier.verify(made.strip())

    assert principal == Principal("ada", frozenset({"acme"}), {"acme": "staff"})
