"""The providers that ship are documented as they are, and so is what becomes of a provider's failures."""

import re
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.catalogue import load_providers
from adapters.openai.errors import MAX_MESSAGE, MAX_RETRY_AFTER
from adapters.openai.provider import OpenAIProvider
from domain.errors import ProviderError
from domain.ports import Call
from entrypoints.http.errors import status_of
from entrypoints.http.provider_surface import MANNERS as PROVIDER
from entrypoints.http.tenant_surface import MANNERS as TENANT
from tests.builders import a_target, user
from tests.docs.pages import CHECKOUT, Row, codes, only_code, page

PROVIDERS = page("docs/providers.md")
SHIPPED: dict[str, dict[str, Any]] = tomllib.loads((CHECKOUT / "config/providers.toml").read_text())
FAILURES = PROVIDERS.rows("status", "with", "code")

#: What stands in the column "with": a body that is meant by it.
BODIES = {
    "a message": b'{"error": {"message": "top_k is not supported"}}',
    "any other message": b'{"error": {"message": "no such page"}}',
    "a message about the context length": b'{"error": {"message": "the maximum context length is 10 tokens"}}',
    "a message about the API key": b'{"error": {"message": "Incorrect API key provided"}}',
    "a message about the model": b'{"error": {"message": "The model `x` does not exist"}}',
    "no message": b"<html></html>",
    "a spent account": b'{"error": {"message": "no credit", "code": "insufficient_quota"}}',
    "anything else": b'{"error": {"message": "slow down"}}',
    "anything": b'{"error": {"message": "whatever"}}',
}


def test_every_shipped_provider_is_documented_as_it_ships() -> None:
    documented = [
        {key: (codes(cell) or [cell])[0] for key, cell in row.items()} for row in PROVIDERS.rows("id", "base URL")
    ]

    assert documented == [
        {
            "id": name,
            "name": spec["name"],
            "base URL": spec["base_url"],
            "key": spec["key"],
            "models": spec["models"],
            "default model": spec.get("default_model", ""),
        }
        for name, spec in SHIPPED.items()
    ]


def test_every_quirk_is_documented() -> None:
    documented = {only_code(row["provider"]): row for row in PROVIDERS.rows("provider", "renamed")}

    assert list(documented) == [name for name, spec in SHIPPED.items() if "quirks" in spec]
    for name, row in documented.items():
        quirks = SHIPPED[name]["quirks"]
        assert codes(row["renamed"]) == [word for pair in quirks.get("rename", {}).items() for word in pair]
        assert codes(row["left out"]) == quirks.get("drop", [])
        assert codes(row["`developer` becomes"]) == [quirks[key] for key in ("developer_role",) if key in quirks]
        assert row["usage in streams"] == {"ask": "asked for", "given": "given"}[quirks.get("stream_usage", "ask")]
        assert codes(row["finish reasons"]) == list(quirks.get("finish_reasons", {}))
        assert row["goes on"] == ("yes" if "prefill" in quirks else "")


def test_the_example_is_a_provider(tmp_path: Path) -> None:
    (example,) = PROVIDERS.section("Adding one").blocks("toml")
    (tmp_path / "house.toml").write_text(example)

    specs = load_providers(CHECKOUT / "config/providers.toml", tmp_path / "house.toml")

    assert specs.keys() == {*SHIPPED, "house"}


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: f"{row['status']} with {row['with']}")
async def test_a_providers_refusal_becomes_what_is_documented(row: Row) -> None:
    here = [int(number) for number in re.findall(r"\d+", row["status here"])]

    for status in map(int, row["status"].split(", ")):
        error = await failure_of(httpx.Response(status, content=BODIES[row["with"]]))

        assert error.code == codes(row["code"])[-1]
        assert [status_of(error, TENANT), status_of(error, PROVIDER)] == here * (3 - len(here))


async def failure_of(response: httpx.Response) -> ProviderError:
    """What becomes of a provider's answer."""
    provider = OpenAIProvider(httpx.MockTransport(lambda _: response))
    call = Call(a_target(), {"messages": [user("Hi")]}, request_id="req-1", deadline=5.0)
    with pytest.raises(ProviderError) as raised:
        await provider.create_chat_completion(call)
    return raised.value


def test_every_body_that_the_test_knows_is_in_the_table() -> None:
    assert {row["with"] for row in FAILURES} == set(BODIES)


def test_the_bounds_of_what_is_passed_on_are_documented() -> None:
    text = PROVIDERS.section("When it fails").text

    assert f"{MAX_RETRY_AFTER:.0f} seconds at most" in text
    assert f"cut at {MAX_MESSAGE:,} characters" in text
