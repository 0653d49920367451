"""``sluice import``: the result passes ``sluice check``, and what has no counterpart is listed with a reason."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.documents import parse_tenant
from domain.tenants import Limits
from entrypoints.cli.migration.translation import to_toml
from tests.cli.configurations import COMPANY, KEYS, LAB, PORTKEY, SMALL
from tests.cli.shell import Said, Shell

LITELLM = {"small": SMALL, "company": COMPANY, "lab": LAB}


@pytest.fixture
def desk(tmp_path: Path) -> Shell:
    """A shell without a Redis: translating needs none."""
    return Shell(tmp_path, {})


def translated(desk: Shell, kind: str, text: str) -> Said:
    name = "config.json" if kind == "portkey" else "config.yaml"
    return desk.run("import", kind, desk.file(name, text), "--to", str(desk.folder / "out"), "--json")


def tenant(desk: Shell) -> Any:
    return tomllib.loads((desk.folder / "out/tenants.toml").read_text())["imported"]


def left(said: Said) -> set[str]:
    return {each["where"] for each in said.json["left"]}


@pytest.mark.parametrize("name", LITELLM)
def test_what_becomes_of_a_litellm_configuration_passes_the_check(desk: Shell, name: str) -> None:
    said = translated(desk, "litellm", LITELLM[name])
    config, tenants = str(desk.folder / "out/sluice.toml"), str(desk.folder / "out/tenants.toml")

    checked = desk.run("check", "--offline", "-f", tenants, SLUICE_CONFIG=config, **KEYS)

    assert said.status == 0
    assert (checked.status, checked.out) == (0, "nothing is wrong\n")


def test_what_becomes_of_a_portkey_configuration_passes_the_check(desk: Shell) -> None:
    said = translated(desk, "portkey", PORTKEY)
    config, tenants = str(desk.folder / "out/sluice.toml"), str(desk.folder / "out/tenants.toml")

    checked = desk.run("check", "--offline", "-f", tenants, SLUICE_CONFIG=config)

    assert checked.out == "nothing is wrong\n"
    assert left(said) == {
        "strategy.on_status_codes",
        "targets[0].override_params.temperature",
        "targets[1].virtual_key",
        "targets[2].provider",
        "cache.mode",
        "retry",
    }
    assert tenant(desk)["routes"] == [
        {
            "share": [{"provider": "openai", "model": "gpt-4o"}],
            "fallbacks": [{"provider": "anthropic", "model": "claude-sonnet-4-20250514"}],
        }
    ]
    assert tomllib.loads(Path(config).read_text())["total_seconds"] == 30.0


def test_a_small_configuration_keeps_its_names_keys_and_fallbacks(desk: Shell) -> None:
    said = translated(desk, "litellm", SMALL)

    document = tenant(desk)
    assert document["api_keys"] == {"openai": ["env:OPENAI_API_KEY"], "anthropic": ["env:ANTHROPIC_API_KEY"]}
    assert document["models"]["claude"] == {"provider": "anthropic", "name": "claude-sonnet-4-20250514"}
    assert document["routes"][0]["fallbacks"] == [{"provider": "anthropic", "model": "claude"}]
    assert (document["default"], document["default_model"]) == ("openai", "gpt-4o")
    assert left(said) == {
        "model_list[0].litellm_params.rpm",
        "litellm_settings.drop_params",
        "litellm_settings.num_retries",
        "general_settings.master_key",
    }


def test_a_larger_one_keeps_its_weights_regions_and_larger_models(desk: Shell) -> None:
    said = translated(desk, "litellm", COMPANY)

    document = tenant(desk)
    route = document["routes"][0]
    assert document["provider_options"] == {"azure-openai": {"resource": "house-eu"}}
    assert [(place["provider"], place["weight"]) for place in route["share"]] == [
        ("azure-openai", 3.0),
        ("house-us-openai-azure-com", 1.0),
        ("openai", 1.0),
    ]
    assert [document["models"][place["model"]]["name"] for place in route["share"]] == [
        "house-gpt-4-eu",
        "house-gpt-4-us",
        "gpt-4o",
    ]
    assert route["larger"] == route["fallbacks"] == [{"provider": "openai", "model": "gpt-4-long"}]
    assert document["cache_seconds"] == 600.0
    assert {"model_list[4].litellm_params.model", "router_settings.fallbacks[0]", "environment_variables"} <= left(said)


def test_servers_of_ones_own_become_providers_and_literal_keys_are_pointed_out(desk: Shell) -> None:
    said = translated(desk, "litellm", LAB)

    providers = tomllib.loads((desk.folder / "out/providers.toml").read_text())
    assert {spec["base_url"] for spec in providers.values()} == {
        "http://10.0.0.7:8000/v1",
        "http://10.0.0.8:8000/v1",
        "http://10.0.0.9:11434/v1",
    }
    assert 'quoted "name"' in tenant(desk)["models"]
    assert {"model_list[3].model_name", "model_list[3].litellm_params.api_key"} == left(said)
    assert "gsk_" not in said.out


def test_every_place_that_is_left_has_a_reason_and_people_are_told_what_comes_next(desk: Shell) -> None:
    said = desk.run("import", "litellm", desk.file("c.yaml", COMPANY), "--to", str(desk.folder / "out"))

    assert said.status == 0
    assert "not translated (" in said.out
    assert all(": " in line for line in said.out.splitlines() if line.startswith("  "))
    assert "sluice check --offline" in said.out


def test_files_that_are_there_are_not_overwritten_and_keys_are_for_their_owner_alone(desk: Shell) -> None:
    translated(desk, "litellm", SMALL)
    mode = (desk.folder / "out/tenants.toml").stat().st_mode & 0o777

    again = translated(desk, "litellm", LAB)

    assert mode == 0o600
    assert again.status == 65
    assert "claude" in tenant(desk)["models"]


@pytest.mark.parametrize("text", ["model_list: [", "- 1", "5", "!!python/object:os.system {}"])
def test_a_file_that_is_no_configuration_is_refused(desk: Shell, text: str) -> None:
    assert translated(desk, "litellm", text).status == 65


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_LEAF = _TEXT | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_TABLE = st.recursive(
    st.dictionaries(_TEXT, _LEAF, max_size=3),
    lambda inner: st.dictionaries(_TEXT, _LEAF | inner | st.lists(_LEAF | inner, max_size=3), max_size=3),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_TABLE)
def test_what_is_written_as_toml_is_read_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_what_is_written_is_a_document_that_the_gateway_reads(desk: Shell) -> None:
    translated(desk, "litellm", COMPANY)

    parsed = parse_tenant("imported", json.dumps(tenant(desk)).encode(), Limits())

    assert parsed.default_provider == "azure-openai"
