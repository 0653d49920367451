"""The catalogue: which model a name means at which provider, and under what name it is asked for there."""

import pytest

from domain.models import Catalogue, Offer
from tests.builders import a_model

GPT = a_model(aliases=("gpt-4o-20??-*", "openai/gpt-4o-*"), names={"openai": "gpt-4o", "openrouter": "openai/gpt-4o"})
MINI = a_model(name="gpt-4o-mini", aliases=("gpt-4o-*",), names={"openai": "gpt-4o-mini"})
SNAPSHOT = a_model(
    name="gpt-4o-2024-05-13",
    names={"openai": "gpt-4o-2024-05-13", "openrouter": "openai/gpt-4o-may"},
)
CATALOGUE = Catalogue((GPT, MINI, SNAPSHOT))


@pytest.mark.parametrize(
    ("provider", "asked", "offer"),
    [
        ("openai", "gpt-4o", Offer(GPT, "gpt-4o")),
        ("openrouter", "gpt-4o", Offer(GPT, "openai/gpt-4o")),
        ("openrouter", "openai/gpt-4o", Offer(GPT, "openai/gpt-4o")),
        ("openai", "gpt-4o-mini", Offer(MINI, "gpt-4o-mini")),
    ],
)
def test_a_model_is_found_by_its_name_and_by_the_providers(provider: str, asked: str, offer: Offer) -> None:
    assert CATALOGUE.find(provider, asked) == offer


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
def test_an_alias_is_sent_as_it_was_asked_for(provider: str) -> None:
    assert CATALOGUE.find(provider, "gpt-4o-2024-08-06") == Offer(GPT, "gpt-4o-2024-08-06")


def test_an_exact_name_wins_over_a_pattern() -> None:
    assert CATALOGUE.find("openai", "gpt-4o-2024-05-13") == Offer(SNAPSHOT, "gpt-4o-2024-05-13")
    assert CATALOGUE.find("openrouter", "gpt-4o-2024-05-13") == Offer(SNAPSHOT, "openai/gpt-4o-may")
    assert CATALOGUE.find("openrouter", "openai/gpt-4o-may") == Offer(SNAPSHOT, "openai/gpt-4o-may")


def test_of_two_patterns_the_one_that_comes_first_wins() -> None:
    assert CATALOGUE.find("openai", "gpt-4o-2024-11-20") == Offer(GPT, "gpt-4o-2024-11-20")
    assert CATALOGUE.find("openai", "gpt-4o-audio") == Offer(MINI, "gpt-4o-audio")


@pytest.mark.parametrize(
    ("provider", "asked"),
    [
        ("openai", "openai/gpt-4o"),
        ("openai", "GPT-4o"),
        ("openai", "gpt-4o "),
        ("openai", "gpt-5"),
        ("openai", ""),
        ("openrouter", "gpt-4o-mini"),
        ("mistral", "gpt-4o"),
        ("mistral", "gpt-4o-2024-08-06"),
    ],
)
def test_a_provider_does_not_have_what_it_is_not_said_to_have(provider: str, asked: str) -> None:
    assert CATALOGUE.find(provider, asked) is None


def test_of_two_models_with_one_name_the_first_is_meant() -> None:
    first, second = a_model(context_window=1), a_model(context_window=2)

    assert Catalogue((first, second)).find("openai", "gpt-4o") == Offer(first, "gpt-4o")


def test_a_providers_models_come_in_the_catalogues_order() -> None:
    assert list(CATALOGUE.served_by("openai")) == [GPT, MINI, SNAPSHOT]
    assert list(CATALOGUE.served_by("openrouter")) == [GPT, SNAPSHOT]
    assert list(CATALOGUE.served_by("mistral")) == []
