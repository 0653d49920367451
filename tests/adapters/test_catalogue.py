"""The catalogue files: what they make, how one goes over another, and that a mistake is named and not quoted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.catalogue import CatalogueError, load_models, load_providers
from domain.images import ImageRule
from domain.models import Model
from domain.providers import ProviderSpec, Quirks

CONFIG = Path(__file__).parents[2] / "config"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a catalogue file."""

    def to_file(text: str, name: str = "own.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return to_file


HOUSE = """
[house]
name = "House"
base_url = "http://10.0.0.7:8000/v1"
"""


def problems(load: Callable[[Path], object], path: Path) -> list[str]:
    """What is wrong with a file, without its name."""
    with pytest.raises(CatalogueError) as raised:
        load(path)
    assert all(problem.startswith(f"{path}: ") for problem in raised.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in raised.value.problems]


# --- what they make -----------------------------------------------------------------------------------------------


def test_the_shipped_files_are_good() -> None:
    providers, models = load_providers(CONFIG / "providers.toml"), load_models(CONFIG / "models.toml")

    assert providers["openai"].base_url == "https://api.openai.com/v1"
    assert {provider for model in models for provider in model.names} <= providers.keys()


def test_every_shipped_default_model_is_known_where_models_are_listed() -> None:
    providers, models = load_providers(CONFIG / "providers.toml"), load_models(CONFIG / "models.toml")

    for spec in providers.values():
        if spec.models == "listed":
            names = {name for model in models if (name := model.names.get(spec.id))}
            assert spec.default_model in names, spec.id


def test_a_provider_needs_a_name_and_an_address(write: Write) -> None:
    assert load_providers(write(HOUSE)) == {"house": ProviderSpec("house", "House", "http://10.0.0.7:8000/v1")}


def test_a_provider_may_have_everything(write: Write) -> None:
    text = """
["house.7_b-c"]
name = "House"
base_url = "https://{region}.example.com/v1/"
key = "optional"
key_header = "api-key"
key_prefix = ""
variables = ["region"]
models = "any"
default_model = "llama"
headers = { X-Title = "Sluice", X-Request-Id = "" }

[\"house.7_b-c\".quirks]
rename = { seed = "random_seed" }
drop = ["store"]
developer_role = "system"
stream_usage = "given"
finish_reasons = { weary = "length" }
"""

    [spec] = load_providers(write(text)).values()

    assert spec == ProviderSpec(
        "house.7_b-c",
        "House",
        "https://{region}.example.com/v1",
        "optional",
        "api-key",
        "",
        ("region",),
        "any",
        "llama",
        {"X-Title": "Sluice", "X-Request-Id": ""},
        Quirks({"seed": "random_seed"}, ("store",), "system", "given", {"weary": "length"}),
    )


def test_a_model_may_have_everything(write: Write) -> None:
    text = """
["llama/70b"]
context_window = 8_192
max_output_tokens = 2_048
tokenizer = "cl100k_base"
aliases = ["llama-*"]
owned_by = "meta"
images = { rule = "patches", factor = 1.5, cap = 100 }
providers = { house = "llama", other = "meta/llama" }
"""

    assert load_models(write(text)) == [
        Model(
            "llama/70b",
            8_192,
            2_048,
            "cl100k_base",
            ("llama-*",),
            "meta",
            ImageRule("patches", factor=1.5, cap=100),
            {"house": "llama", "other": "meta/llama"},
        )
    ]


def test_models_keep_the_order_of_their_files(write: Write) -> None:
    first, second = write("[b]\n[a]\n", "first.toml"), write("[c]\n[b]\ncontext_window = 5\n", "second.toml")

    assert [model.name for model in load_models(first, second)] == ["b", "a", "c"]


# --- one over another ---------------------------------------------------------------------------------------------


def test_a_later_file_changes_the_fields_that_it_mentions(write: Write) -> None:
    over = write(HOUSE + '[openai]\nbase_url = "https://eu.example.com/v1"\n[mistral.quirks]\ndrop = ["n"]\n')

    shipped, both = load_providers(CONFIG / "providers.toml"), load_providers(CONFIG / "providers.toml", over)

    assert both["openai"].base_url == "https://eu.example.com/v1"
    assert both["openai"].default_model == shipped["openai"].default_model
    assert both["mistral"].quirks == Quirks(drop=("n",))
    assert both["house"].name == "House"
    assert both.keys() - shipped.keys() == {"house"}


def test_a_later_file_may_complete_what_an_earlier_one_began(write: Write) -> None:
    first, second = write('[house]\nname = "House"\n', "1.toml"), write('[house]\nbase_url = "http://h"\n', "2.toml")

    assert load_providers(first, second)["house"] == ProviderSpec("house", "House", "http://h")


# --- what is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.com/v1",
        "example.com/v1",
        "//example.com",
        "http://",
        "http:///v1",
        "https://user@example.com",
        "https://ann:secret@example.com/v1",
        "https://example.com/v1?key=secret",
        "https://example.com/v1#top",
        "https://example.com:99999/",
        "http://[::1",
        "",
    ],
)
def test_an_address_is_plain_http_and_holds_no_credentials(write: Write, address: str) -> None:
    found = problems(load_providers, write(f'[house]\nname = "House"\nbase_url = "{address}"\n'))

    assert found == ["[house] base_url: must be an http or https URL without credentials, query or fragment"]


@pytest.mark.parametrize("name", ["v1", "admin", "House", "-house", "a" * 64, "a b", "a/b", "ä", "a:b", "a@b"])
def test_an_id_can_be_a_path_and_is_none_of_the_gateways_own(write: Write, name: str) -> None:
    [problem] = problems(load_providers, write(f'["{name}"]\nname = "House"\nbase_url = "http://h"\n'))

    assert problem.startswith(f"[{name}] is no id for a provider")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('nmae = "x"', "nmae"),
        ('id = "x"', "id"),
        ('key = "perhaps"', "key"),
        ('models = "some"', "models"),
        ('variables = "region"', "variables"),
        ("default_model = 5", "default_model"),
        ("headers = { X = 1 }", "headers.X"),
        ('quirks = { renames = { a = "b" } }', "quirks.renames"),
        ('quirks = { drop = "store" }', "quirks.drop"),
        ('quirks = { stream_usage = "maybe" }', "quirks.stream_usage"),
        ('quirks = { finish_reasons = { weary = "tired" } }', "quirks.finish_reasons.weary"),
        ("quirks = 5", "quirks"),
        ('variables = ["region"]', "variables"),
        ("drop = []", "drop"),
    ],
)
def test_a_wrong_field_of_a_provider_is_named(write: Write, line: str, field: str) -> None:
    found = problems(load_providers, write(f"{HOUSE}{line}\n"))

    assert [problem.partition(":")[0] for problem in found] == [f"[house] {field}"]


def test_a_placeholder_that_nobody_can_fill_in_is_a_mistake(write: Write) -> None:
    [problem] = problems(load_providers, write('[house]\nname = "H"\nbase_url = "https://{region}.example.com"\n'))

    assert problem.startswith("[house] variables:")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('context_windwo = "x"', "context_windwo"),
        ('name = "x"', "name"),
        ('names = { house = "x" }', "names"),
        ('context_window = "8192"', "context_window"),
        ("context_window = true", "context_window"),
        ("context_window = 8192.0", "context_window"),
        ("context_window = 0", "context_window"),
        ("max_output_tokens = -1", "max_output_tokens"),
        ('aliases = "llama-*"', "aliases"),
        ("providers = { house = 5 }", "providers.house"),
        ('images = { rule = "round" }', "images.rule"),
        ("images = { size = 5 }", "images.size"),
        ('images = { rule = "tiles", base = "many" }', "images.base"),
    ],
)
def test_a_wrong_field_of_a_model_is_named(write: Write, line: str, field: str) -> None:
    found = problems(load_models, write(f"[llama]\n{line}\n"))

    assert [problem.partition(":")[0] for problem in found] == [f"[llama] {field}"]


def test_all_problems_of_all_files_are_told_at_once(write: Write, tmp_path: Path) -> None:
    good, bad = write(HOUSE, "good.toml"), write("[house]\nkey = 5\nx = 1\n[v1]\n", "bad.toml")
    broken, missing = write("[house\n", "broken.toml"), tmp_path / "missing.toml"

    with pytest.raises(CatalogueError) as raised:
        load_providers(good, bad, broken, missing)

    parted = [problem.partition(": ") for problem in raised.value.problems]
    assert sorted((Path(file).name, told.split(":")[0]) for file, _, told in parted) == [
        ("bad.toml", "[house] key"),
        ("bad.toml", "[house] x"),
        ("bad.toml", "[v1] base_url"),
        ("bad.toml", "[v1] is no id for a provider"),
        ("bad.toml", "[v1] name"),
        ("broken.toml", "cannot be read (TOMLDecodeError)"),
        ("missing.toml", "cannot be read (FileNotFoundError)"),
    ]
    assert str(raised.value).splitlines() == raised.value.problems


@pytest.mark.parametrize("text", ['name = "House"\n', "[[house]]\n", "house = 5\n"])
def test_what_is_no_table_is_a_mistake(write: Write, text: str) -> None:
    assert len(problems(load_providers, write(text))) == 1


def test_no_value_is_quoted(write: Write) -> None:
    secret = "sk-secret"
    lines = [
        f'base_url = "https://ann:{secret}@h"',
        f'key = "{secret}"',
        f'name = ["{secret}"]',
        f'headers = ["{secret}"]',
    ]
    text = "\n".join(["[house]", *lines])

    assert not any(secret in problem for problem in problems(load_providers, write(text)))
