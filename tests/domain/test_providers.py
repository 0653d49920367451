"""The plan: which provider answers, under which model name, with which key, and at no other address."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest, ModelNotSupported, NoApiKey, TenantMisconfigured
from domain.models import Model
from domain.providers import ProviderRegistry
from domain.tenants import Group, Tenant
from tests.builders import a_caller, a_model, a_planner, a_provider, a_request, a_target, a_tenant

OPENAI = a_provider(default_model="gpt-4o-mini")
ROUTER = a_provider(id="openrouter", name="OpenRouter", models="any")
OLLAMA = a_provider(id="ollama", name="Ollama", models="any", key="optional")
AZURE = a_provider(
    id="azure-openai",
    name="Azure OpenAI",
    base_url="https://{resource}.openai.azure.com/openai/v1",
    variables=("resource",),
    models="any",
)
GPT = a_model(aliases=("gpt-4o-20??-*",), names={"openai": "gpt-4o", "openrouter": "openai/gpt-4o"})
MINI = a_model(name="gpt-4o-mini", names={"openai": "gpt-4o-mini"})
PLANNER = a_planner((OPENAI, ROUTER, OLLAMA, AZURE), (GPT, MINI))


def test_a_registry_knows_its_providers_by_id() -> None:
    registry = ProviderRegistry({"openai": OPENAI, "ollama": OLLAMA})

    assert "openai" in registry
    assert "mistral" not in registry
    assert (registry.get("ollama"), registry.get("mistral")) == (OLLAMA, None)
    assert list(registry) == [OPENAI, OLLAMA]


def test_a_key_is_never_shown() -> None:
    assert "sk-acme" not in repr(a_target(key="sk-acme"))


# --- which provider ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "default", "expected"),
    [
        ("openrouter", "ollama", "openai", "openrouter"),
        (None, "ollama", "openai", "ollama"),
        (None, None, "openai", "openai"),
        ("openrouter", None, None, "openrouter"),
    ],
)
def test_the_path_names_the_provider_else_the_body_else_the_tenant(
    path: str | None, body: str | None, default: str | None, expected: str
) -> None:
    caller = a_caller(a_tenant(default_provider=default), provider=path)

    target = PLANNER.plan(caller, a_request(provider=body))

    assert target.provider.id == expected


def test_where_nobody_names_a_provider_the_request_lacks_one() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        PLANNER.plan(a_caller(a_tenant(default_provider=None)), a_request())

    assert (refusal.value.code, refusal.value.param) == ("missing_required_parameter", "provider")


def test_a_provider_that_is_not_registered_is_invalid() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        PLANNER.plan(a_caller(), a_request(provider="mistral"))

    assert (refusal.value.code, refusal.value.param) == ("provider_not_found", "provider")


# --- which model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "default", "expected"),
    [("gpt-4o", "gpt-4o-mini", "gpt-4o"), (None, "gpt-4o", "gpt-4o"), (None, None, "gpt-4o-mini")],
)
def test_the_request_names_the_model_else_the_tenant_else_the_provider(
    asked: str | None, default: str | None, expected: str
) -> None:
    caller = a_caller(a_tenant(default_model=default))

    assert PLANNER.plan(caller, a_request(model=asked)).sent_model == expected


def test_where_nobody_names_a_model_the_request_lacks_one() -> None:
    caller = a_caller(a_tenant(default_model=None), provider="ollama")

    with pytest.raises(InvalidRequest) as refusal:
        PLANNER.plan(caller, a_request(model=None))

    assert (refusal.value.code, refusal.value.param) == ("missing_required_parameter", "model")


@pytest.mark.parametrize(
    ("provider", "asked", "sent"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("openrouter", "gpt-4o", "openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
    ],
)
def test_the_provider_gets_its_own_name_for_the_model_and_the_clients_alias(
    provider: str, asked: str, sent: str
) -> None:
    target = PLANNER.plan(a_caller(), a_request(model=asked, provider=provider))

    assert (target.model, target.sent_model) == (GPT, sent)


def test_a_model_that_the_provider_does_not_have_is_not_supported() -> None:
    with pytest.raises(ModelNotSupported) as refusal:
        PLANNER.plan(a_caller(), a_request(model="gpt-5"))

    assert refusal.value.model == "gpt-5"
    assert "'gpt-5'" in refusal.value.message


def test_a_provider_of_any_model_takes_every_name_and_knows_nothing_of_it() -> None:
    target = PLANNER.plan(a_caller(), a_request(model="my/very-own:7b", provider="ollama"))

    assert (target.model, target.sent_model) == (Model("my/very-own:7b", owned_by="ollama"), "my/very-own:7b")


def test_a_plan_has_no_key_and_no_address_yet() -> None:
    target = PLANNER.plan(a_caller(), a_request())

    assert (target.key, target.base_url) == (None, "")


# --- models of a tenant's own -----------------------------------------------------------------------------------------

TUNED = Model("tuned", context_window=8, names={"openai": "ft:gpt-4o:acme::7"})


def test_a_tenant_may_have_models_of_its_own() -> None:
    caller = a_caller(a_tenant(own_models={"tuned": TUNED}))

    target = PLANNER.plan(caller, a_request(model="tuned"))

    assert (target.model, target.sent_model) == (TUNED, "ft:gpt-4o:acme::7")


def test_a_tenants_own_model_comes_before_the_catalogues_of_the_same_name() -> None:
    own = Model("gpt-4o", context_window=8, names={"openai": "gpt-4o-acme"})
    caller = a_caller(a_tenant(own_models={"gpt-4o": own}))

    assert PLANNER.plan(caller, a_request()).model == own
    assert PLANNER.plan(caller, a_request(provider="openrouter")).model == GPT


def test_a_tenants_own_model_is_to_be_had_at_its_provider_only() -> None:
    caller = a_caller(a_tenant(own_models={"tuned": Model("tuned", names={"openrouter": "tuned"})}))

    with pytest.raises(ModelNotSupported):
        PLANNER.plan(caller, a_request(model="tuned", provider="openai"))


# --- who may ask for it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-*"])
def test_a_rule_may_name_the_model_or_what_was_asked_for(allowed: str) -> None:
    caller = a_caller(a_tenant(allowed_models=(allowed,)))

    assert PLANNER.plan(caller, a_request(model="gpt-4o-2024-08-06")).model == GPT


@pytest.mark.parametrize(
    "tenant",
    [
        a_tenant(allowed_models=("gpt-4o-mini",)),
        a_tenant(groups={"staff": Group("staff", models=("gpt-4o-mini",))}),
    ],
)
def test_a_model_that_tenant_or_group_may_not_use_is_not_supported_for_them(tenant: Tenant) -> None:
    with pytest.raises(ModelNotSupported):
        PLANNER.plan(a_caller(tenant), a_request(model="gpt-4o"))


def names(caller_changes: Mapping[str, object], **tenant_changes: object) -> list[str]:
    return [model.name for model in PLANNER.models_for(a_caller(a_tenant(**tenant_changes), **caller_changes))]


def test_a_caller_is_shown_the_models_of_the_providers_that_the_tenant_can_use() -> None:
    assert names({}) == ["gpt-4o", "gpt-4o-mini"]
    assert names({}, api_keys={"openrouter": ("sk",)}, default_provider=None) == ["gpt-4o"]
    assert names({}, api_keys={}, default_provider="openai") == ["gpt-4o", "gpt-4o-mini"]
    assert names({}, api_keys={}, default_provider=None) == []


def test_on_a_providers_path_only_its_models_are_shown() -> None:
    assert names({"provider": "openrouter"}) == ["gpt-4o"]
    assert names({"provider": "mistral"}) == []


def test_a_model_that_several_providers_have_is_shown_once() -> None:
    assert names({}, api_keys={"openai": ("sk",), "openrouter": ("sk",)}) == ["gpt-4o", "gpt-4o-mini"]


def test_only_what_the_caller_may_use_is_shown() -> None:
    assert names({}, allowed_models=("*-mini",)) == ["gpt-4o-mini"]
    assert names({}, groups={"staff": Group("staff", models=())}) == []


def test_models_of_the_tenants_own_are_shown_where_their_provider_is() -> None:
    own = {"tuned": TUNED}

    assert names({}, own_models=own) == ["tuned", "gpt-4o", "gpt-4o-mini"]
    assert names({"provider": "openrouter"}, own_models=own) == ["gpt-4o"]


def test_of_a_provider_of_any_model_the_defaults_are_shown() -> None:
    assert names({"provider": "ollama"}, default_model="llama3", default_provider="ollama") == ["llama3"]
    assert names({"provider": "ollama"}, default_model="llama3", default_provider="openai") == []
    assert names({"provider": "openai"}, default_model="llama3") == ["gpt-4o", "gpt-4o-mini"]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_target_gets_the_tenants_first_key_and_the_providers_address() -> None:
    tenant = a_tenant(api_keys={"openai": ("sk-1", "sk-2"), "openrouter": ("sk-3",)})

    (target, *_) = PLANNER.keyed(a_target(provider=OPENAI, key=None, base_url=""), tenant)

    assert (target.key, target.base_url) == ("sk-1", "https://api.openai.com/v1")


@pytest.mark.parametrize("keys", [{}, {"openai": ()}, {"openrouter": ("sk",)}])
def test_where_the_provider_wants_a_key_and_the_tenant_has_none_it_is_said_with_the_providers_name(
    keys: Mapping[str, tuple[str, ...]],
) -> None:
    with pytest.raises(NoApiKey, match=r"^No OpenAI API key configured$"):
        PLANNER.keyed(a_target(provider=OPENAI), a_tenant(api_keys=keys))


def test_a_server_without_keys_is_asked_without_one_unless_the_tenant_has_it() -> None:
    target = a_target(provider=OLLAMA, key=None)

    assert PLANNER.keyed(target, a_tenant(api_keys={}))[0].key is None
    assert PLANNER.keyed(target, a_tenant(api_keys={"ollama": ("sk",)}))[0].key == "sk"


# --- addresses --------------------------------------------------------------------------------------------------------


def address(resource: str | None) -> str:
    options = {} if resource is None else {"azure-openai": {"resource": resource}}
    tenant = a_tenant(api_keys={"azure-openai": ("sk",)}, provider_options=options)
    return PLANNER.keyed(a_target(provider=AZURE), tenant)[0].base_url


@pytest.mark.parametrize("resource", ["acme", "a", "ACME-9_x", "a" * 63])
def test_a_placeholder_is_filled_with_what_the_tenant_says(resource: str) -> None:
    assert address(resource) == f"https://{resource}.openai.azure.com/openai/v1"


@pytest.mark.parametrize(
    "resource",
    [
        None,
        "",
        ".",
        "..",
        "evil.com/",
        "evil.com#",
        "evil.com?",
        "user@evil",
        "evil:80",
        "evil\\",
        "a.b",
        "a b",
        "a\n",
        "-a",
        "a-",
        "_a",
        "a%2f",
        "{resource}",
        "\u0430cme",
        "\uff0e",
        "a" * 64,
    ],
)
def test_a_placeholder_takes_nothing_that_is_no_label(resource: str | None) -> None:
    with pytest.raises(TenantMisconfigured):
        address(resource)


@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._:/@%#?-]{1,20}", fullmatch=True))
def test_no_placeholder_leads_a_key_elsewhere(resource: str) -> None:
    try:
        parts = urlsplit(address(resource))
    except TenantMisconfigured:
        return

    assert parts.scheme == "https"
    assert parts.netloc.removesuffix(".openai.azure.com").replace("-", "").replace("_", "").isalnum()
    assert (parts.path, parts.query, parts.fragment, parts.port) == ("/openai/v1", "", "", None)


def test_every_placeholder_of_an_address_must_be_filled() -> None:
    two = a_provider(id="two", base_url="https://{region}.example.com/{project}", variables=("region", "project"))
    planner = a_planner((two,))

    def with_options(**options: str) -> str:
        tenant = a_tenant(api_keys={"two": ("sk",)}, provider_options={"two": options})
        return planner.keyed(a_target(provider=two), tenant)[0].base_url

    assert with_options(region="eu", project="p-1") == "https://eu.example.com/p-1"
    with pytest.raises(TenantMisconfigured):
        with_options(region="eu")
