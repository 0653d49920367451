"""Tenants' documents: what operators may write, and what becomes of the rest."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.documents import flaws_of, parse_tenant, write_document
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.models import Model
from domain.routes import Place, RouteRule
from domain.tenants import Group, Limits, Tenant
from domain.tokens import TokenPolicy

DEFAULTS = Limits(requests_per_minute=60, tokens_per_minute=100_000)

#: The form of the seeds.
SEED: JsonObject = {"user_groups": ["anonymous", "staff"], "api_keys": {"openai": "sk-1"}, "default": "openai"}


def parse(document: JsonObject | bytes) -> Tenant:
    return parse_tenant("acme", document, DEFAULTS)


def test_the_seeds_form_is_understood() -> None:
    tenant = parse(SEED)

    assert tenant == Tenant(
        id="acme",
        groups={"anonymous": Group("anonymous"), "staff": Group("staff")},
        api_keys={"openai": ("sk-1",)},
        default_provider="openai",
        default_group="staff",
        limits=DEFAULTS,
    )


def test_the_full_form_is_understood() -> None:
    tenant = parse(
        {
            "groups": {"staff": {"initial_tokens": 500, "models": ["gpt-*"]}, "interns": {}},
            "api_keys": {"openai": ["sk-1", "sk-2"], "azure-openai": " sk-3 "},
            "default": "azure-openai",
            "default_model": "house",
            "default_group": "interns",
            "models": {
                "house": {
                    "provider": "azure-openai",
                    "name": "deployment-7",
                    "context_window": 8192,
                    "max_output_tokens": 512,
                },
                "plain": {"provider": "openai", "tokenizer": "cl100k_base"},
            },
            "allowed_models": ["house", "gpt-4o*"],
            "limits": {"requests_per_minute": None, "tokens_per_minute": 5000},
            "policy": "strict",
            "provider_options": {"azure-openai": {"resource": "acme-eu"}},
        }
    )

    assert tenant == Tenant(
        id="acme",
        groups={"staff": Group("staff", 500, ("gpt-*",)), "interns": Group("interns")},
        api_keys={"openai": ("sk-1", "sk-2"), "azure-openai": ("sk-3",)},
        default_provider="azure-openai",
        default_model="house",
        default_group="interns",
        own_models={
            "house": Model("house", 8192, 512, owned_by="azure-openai", names={"azure-openai": "deployment-7"}),
            "plain": Model("plain", tokenizer="cl100k_base", owned_by="openai", names={"openai": "plain"}),
        },
        allowed_models=("house", "gpt-4o*"),
        limits=Limits(None, 5000),
        policy=TokenPolicy.STRICT,
        provider_options={"azure-openai": {"resource": "acme-eu"}},
    )


def test_routes_are_understood() -> None:
    tenant = parse(
        {
            **SEED,
            "routes": [
                {
                    "model": "gpt-4o*",
                    "provider": "openai",
                    "share": [{"provider": "openai", "weight": 3}, {"provider": "azure-openai"}],
                    "fallbacks": [{"provider": "groq", "model": "llama"}],
                    "larger": [{"provider": "openai", "model": "gpt-4.1"}],
                    "on_content_filter": "fall_back",
                },
                {},
            ],
        }
    )

    assert tenant.routes == (
        RouteRule(
            "gpt-4o*",
            "openai",
            share=(Place("openai", weight=3.0), Place("azure-openai", weight=1.0)),
            fallbacks=(Place("groq", "llama"),),
            larger=(Place("openai", "gpt-4.1"),),
            reroute_filtered=True,
        ),
        RouteRule(),
    )


@pytest.mark.parametrize(
    "route",
    [
        {"fallback": [{"provider": "groq"}]},
        {"fallbacks": ["groq"]},
        {"fallbacks": [{"model": "llama"}]},
        {"fallbacks": [{"provider": "groq", "weight": 1}]},
        {"share": [{"provider": "groq", "weight": 0}]},
        {"share": [{"provider": "groq", "weight": "3"}]},
        {"on_content_filter": "ignore"},
        "groq",
    ],
    ids=str,
)
def test_a_route_that_says_anything_else_spoils_the_document(route: object) -> None:
    with pytest.raises(TenantMisconfigured):
        parse({**SEED, "routes": [route]})


def test_an_empty_document_is_a_tenant_that_can_do_nothing() -> None:
    assert parse({}) == Tenant("acme", groups={}, api_keys={}, limits=DEFAULTS)


def test_groups_of_both_forms_are_united() -> None:
    tenant = parse({"user_groups": ["anonymous", "staff"], "groups": {"staff": {"initial_tokens": 7}, "guests": {}}})

    assert tenant.groups == {"anonymous": Group("anonymous"), "staff": Group("staff", 7), "guests": Group("guests")}


@pytest.mark.parametrize(
    ("groups", "default"),
    [([], None), (["anonymous"], "anonymous"), (["anonymous", "b", "a"], "b"), (["a", "anonymous"], "a")],
)
def test_the_default_group_is_the_first_that_needs_a_token(groups: list[str], default: str | None) -> None:
    assert parse({"user_groups": groups}).default_group == default


@pytest.mark.parametrize(
    ("keys", "default"),
    [({}, None), ({"groq": "k"}, "groq"), ({"groq": "k", "openai": "k"}, None), ({"groq": "k", "openai": ""}, "groq")],
)
def test_the_only_provider_with_a_key_is_the_default(keys: dict[str, str], default: str | None) -> None:
    assert parse({"api_keys": keys}).default_provider == default


@pytest.mark.parametrize("empty", ["", "  ", [], [""], None])
def test_an_empty_key_is_none(empty: object) -> None:
    assert parse({"api_keys": {"openai": empty}}).api_keys == {}


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (None, DEFAULTS),
        ({}, DEFAULTS),
        ({"requests_per_minute": 5}, Limits(5, 100_000)),
        ({"requests_per_minute": None}, Limits(None, 100_000)),
        ({"requests_per_minute": None, "tokens_per_minute": None}, Limits()),
    ],
)
def test_a_limit_that_is_not_mentioned_is_the_default(given: JsonObject | None, limits: Limits) -> None:
    assert parse({"limits": given}).limits == limits


def test_other_peoples_fields_are_left_alone() -> None:
    tenant = parse({**SEED, "theme": {"colour": 3}, "groups": {"staff": {"quota": "x"}}, "limits": {"burst": -1}})

    assert tenant == parse(SEED)


@pytest.mark.parametrize(
    "fields",
    [
        {"user_groups": "staff"},
        {"user_groups": {"staff": 1}},
        {"user_groups": ["st:aff"]},
        {"user_groups": [""]},
        {"user_groups": ["x" * 129]},
        {"user_groups": [5]},
        {"groups": ["staff"]},
        {"groups": {"{a}": {}}},
        {"groups": {"staff": {"initial_tokens": -1}}},
        {"groups": {"staff": {"initial_tokens": True}}},
        {"groups": {"staff": {"initial_tokens": 1.0}}},
        {"groups": {"staff": {"initial_tokens": "5"}}},
        {"groups": {"staff": {"initial_tokens": 2**53}}},
        {"groups": {"staff": {"models": "gpt-*"}}},
        {"api_keys": "sk-1"},
        {"api_keys": {"openai": 5}},
        {"api_keys": {"openai": {"key": "sk-1"}}},
        {"api_keys": {"openai": "sk-1\r\nX: y"}},
        {"api_keys": {"openai": "sk 1"}},
        {"api_keys": {"openai": "sk-é"}},
        {"default": 5},
        {"default_model": ["gpt-4o"]},
        {"default_group": "nobody"},
        {"models": ["house"]},
        {"models": {"house": {"name": "x"}}},
        {"models": {"house": {"provider": "openai", "context_window": 0}}},
        {"models": {"house": {"provider": "openai", "max_output_tokens": -5}}},
        {"allowed_models": "gpt-*"},
        {"limits": {"requests_per_minute": 0}},
        {"limits": {"requests_per_minute": -1}},
        {"limits": {"tokens_per_minute": False}},
        {"limits": {"tokens_per_minute": 1e3}},
        {"limits": 60},
        {"policy": "lenient"},
        {"policy": None},
        {"provider_options": {"azure-openai": "acme"}},
        {"provider_options": {"azure-openai": {"resource": 5}}},
    ],
)
def test_a_known_field_of_the_wrong_kind_spoils_the_document(fields: JsonObject) -> None:
    with pytest.raises(TenantMisconfigured):
        parse({**SEED, **fields})


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff", b'{"limits": NaN}', b"{}{}"])
def test_what_is_no_json_object_is_no_document(document: bytes) -> None:
    with pytest.raises(TenantMisconfigured):
        parse(document)


@pytest.mark.parametrize("tenant_id", ["", "a:b", "{a}", "x" * 129, "a b", "é"])
def test_a_tenant_needs_an_id(tenant_id: str) -> None:
    with pytest.raises(TenantMisconfigured):
        parse_tenant(tenant_id, SEED, DEFAULTS)


def test_what_a_spoilt_document_holds_is_in_no_message() -> None:
    with pytest.raises(TenantMisconfigured) as failure:
        parse({"api_keys": {"openai": "sk-secret\n", "groq": 5}, "limits": "sk-secret"})

    assert "sk-secret" not in repr(failure.value)
    assert (failure.value.__cause__, failure.value.__context__) == (None, None)


_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KNOWN = st.sampled_from(["user_groups", "groups", "api_keys", "default", "default_model", "default_group", "models",
                          "allowed_models", "limits", "policy", "provider_options"])  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(_KNOWN | st.text(max_size=5), _ANYTHING, max_size=6))
def test_any_document_is_a_tenant_or_misconfigured_and_reads_the_same_from_the_store(document: JsonObject) -> None:
    def read(form: JsonObject | bytes) -> Tenant | None:
        try:
            return parse(form)
        except TenantMisconfigured:
            return None

    assert read(document) == read(orjson.dumps(document))


@pytest.mark.parametrize("document", [{"a": object()}, {"a": 2**70}, {"a": "\ud800"}, {5: "a"}])
def test_what_cannot_be_written_is_no_document(document: JsonObject) -> None:
    with pytest.raises(TenantMisconfigured):
        write_document(document)


# --- providers that the tenant brings -----------------------------------------------------------------------------


def test_a_tenants_own_providers_are_known_by_their_address() -> None:
    tenant = parse({**SEED, "providers": {"house": {"base_url": "https://llm.example.com/v1"}}})

    assert tenant.own_providers == {"house": "https://llm.example.com/v1"}


@pytest.mark.parametrize(
    "entry",
    [
        {"base_url": "http://127.0.0.1:8000"},
        {"base_url": "https://user:pass@llm.example.com"},
        {"base_url": "https://llm.example.com", "headers": {"Host": "inside"}},
        {},
    ],
)
def test_a_provider_that_may_not_be_asked_spoils_the_document(entry: JsonObject) -> None:
    with pytest.raises(TenantMisconfigured):
        parse({**SEED, "providers": {"house": entry}})


def test_what_is_wrong_with_a_providers_address_is_told_without_it() -> None:
    [flaw] = flaws_of({**SEED, "providers": {"house": {"base_url": "http://10.0.0.7"}}})

    assert (flaw.pointer, flaw.what) == ("/providers/house/base_url", "must have a public host")
