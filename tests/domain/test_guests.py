"""Providers that a tenant brings: only where the operator allows it, and only for that tenant."""

import pytest

from domain.administration.documents import Flaw, moved_keys
from domain.chat import ChatRequest, JsonObject
from domain.errors import InvalidRequest
from domain.models import Catalogue
from domain.providers import Planner, ProviderRegistry, Target
from domain.tenants import Caller, Tenant
from tests.builders import a_provider, a_tenant

HOUSE = "https://llm.example.com/v1"


def plan(tenant: Tenant, provider: str, *, guests: bool = True) -> Target:
    planner = Planner(ProviderRegistry({"openai": a_provider()}), Catalogue(()), guests=guests)
    request = ChatRequest([{"role": "user", "content": "hello"}], {}, model="llama", provider=provider)
    return planner.keyed(planner.plan(Caller(tenant, "staff", "ada"), request), tenant)[0]


def test_a_tenants_own_provider_is_asked_with_its_key_and_for_it_alone() -> None:
    target = plan(a_tenant(own_providers={"house": HOUSE}, api_keys={"house": ("sk-house",)}), "house")

    assert (target.base_url, target.key, target.sent_model) == (HOUSE, "sk-house", "llama")
    assert target.provider.owner == "acme"


def test_it_needs_no_key() -> None:
    assert plan(a_tenant(own_providers={"house": HOUSE}), "house").key is None


def test_unless_the_operator_allows_it_there_is_none() -> None:
    with pytest.raises(InvalidRequest):
        plan(a_tenant(own_providers={"house": HOUSE}), "house", guests=False)


def test_another_tenants_provider_is_nobodys() -> None:
    with pytest.raises(InvalidRequest):
        plan(a_tenant(), "house")


def test_a_registered_provider_is_not_replaced() -> None:
    planner = Planner(ProviderRegistry({"openai": a_provider()}), Catalogue(()), guests=True)

    target = planner.at(a_tenant(own_providers={"openai": HOUSE}, own_models={}), "openai", "gpt-4o")

    assert target is None or target.provider.owner is None


KEY = {"api_keys": {"house": "sk-1"}}


def brought(url: str, **keys: str) -> JsonObject:
    return {"providers": {"house": {"base_url": url}}, "api_keys": {"house": "sk-1", **keys}}


@pytest.mark.parametrize("before", [brought(HOUSE), KEY], ids=["moved", "brought under a key that was there"])
def test_a_key_does_not_move_with_its_provider(before: JsonObject) -> None:
    after = brought("https://evil.example.com/v1")

    assert moved_keys(before, after) == (Flaw("/api_keys/house", "must be entered anew with another base_url"),)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (brought(HOUSE), brought(HOUSE)),
        (brought(HOUSE), brought("https://new.example.com", house="sk-2")),
        ({}, brought(HOUSE)),
        (brought(HOUSE), {"providers": {"house": {"base_url": "https://new.example.com"}}}),
        (brought(HOUSE), {**KEY}),
    ],
    ids=["as it was", "entered anew", "both are new", "without a key", "taken away"],
)
def test_a_key_that_is_entered_anew_is_fine(before: JsonObject, after: JsonObject) -> None:
    assert moved_keys(before, after) == ()
