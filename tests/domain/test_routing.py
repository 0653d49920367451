"""Routes: whom a request may go to, in which order, with which keys, and never to whom the caller did not mean."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from domain.errors import ContextLengthExceeded, ModelNotSupported, NoApiKey
from domain.routes import Place, RouteRule
from domain.routing import Route, Router
from domain.tenants import Caller
from tests.builders import a_caller, a_model, a_planner, a_provider, a_request, a_target, a_tenant

OPENAI = a_provider()
ROUTER = a_provider(id="openrouter", name="OpenRouter", base_url="https://openrouter.ai/api/v1", models="any")
AZURE = a_provider(id="azure", name="Azure", base_url="https://{resource}.example.com", variables=("resource",))
OLLAMA = a_provider(id="ollama", name="Ollama", base_url="http://127.0.0.1:11434/v1", models="any", key="optional")
GPT = a_model(names={"openai": "gpt-4o", "openrouter": "openai/gpt-4o", "azure": "gpt4o-prod"})
LONG = a_model(name="gpt-long", context_window=100_000, names={"openai": "gpt-long"})
KEYS = {"openai": ("sk-1",), "openrouter": ("sk-or",), "azure": ("az",)}


def router(draw: float = 0.0) -> Router:
    return Router(a_planner((OPENAI, ROUTER, AZURE, OLLAMA), (GPT, LONG)), lambda: draw)


def caller(*rules: RouteRule, provider: str | None = None, **changes: Any) -> Caller:
    tenant = a_tenant(
        routes=rules, **{"api_keys": KEYS, "provider_options": {"azure": {"resource": "acme"}}, **changes}
    )
    return a_caller(tenant, provider=provider)


def named(route: Route) -> list[str]:
    return [f"{target.provider.id}/{target.sent_model}" for target in route.targets]


FALLBACKS = (Place("openrouter"), Place("azure"), Place("openai", "gpt-long"))


def test_without_routes_a_request_goes_to_whom_it_names() -> None:
    route = router().route(caller(), a_request())

    assert named(route) == ["openai/gpt-4o"]
    assert route.asked == route.first


def test_fallbacks_follow_in_their_order_each_by_its_own_name_for_the_model() -> None:
    route = router().route(caller(RouteRule(fallbacks=FALLBACKS)), a_request())

    assert named(route) == ["openai/gpt-4o", "openrouter/openai/gpt-4o", "azure/gpt4o-prod", "openai/gpt-long"]


@pytest.mark.parametrize(
    "place", [Place("nowhere"), Place("azure", "gpt-9"), Place("openai"), Place("openai", "gpt-4o")], ids=str
)
def test_what_is_not_there_or_is_there_already_is_left_out(place: Place) -> None:
    route = router().route(caller(RouteRule(fallbacks=(place,))), a_request())

    assert named(route) == ["openai/gpt-4o"]


def test_the_first_route_that_covers_a_request_is_its_own() -> None:
    rules = (
        RouteRule("gpt-9*", fallbacks=(Place("ollama"),)),
        RouteRule("gpt-4*", fallbacks=(Place("azure"),)),
        RouteRule(fallbacks=(Place("openrouter"),)),
    )

    assert named(router().route(caller(*rules), a_request())) == ["openai/gpt-4o", "azure/gpt4o-prod"]


@pytest.mark.parametrize(
    ("of_rule", "path", "body", "falls_back"),
    [
        (None, None, None, True),
        (None, "openai", None, False),
        (None, None, "openai", False),
        ("openai", None, None, True),
        ("openai", "openai", None, True),
        ("openai", None, "openai", True),
        ("openrouter", None, None, False),
        ("openrouter", "openai", None, False),
    ],
)
def test_who_names_a_provider_falls_back_only_where_the_route_names_it_too(
    of_rule: str | None, path: str | None, body: str | None, falls_back: bool
) -> None:
    rule = RouteRule(provider=of_rule, fallbacks=(Place("azure"),))

    route = router().route(caller(rule, provider=path), a_request(provider=body))

    assert (len(route.targets) > 1) is falls_back


def test_a_run_that_remembers_that_nobody_named_a_provider_falls_back_though_its_request_does() -> None:
    who, request = caller(RouteRule(fallbacks=(Place("azure"),))), a_request(provider="openai")

    assert len(router().route(who, request, named=False).targets) == 2
    assert len(router().route(who, request, named=True).targets) == 1


def test_a_model_that_the_caller_may_not_ask_for_is_refused_whatever_the_fallbacks_are() -> None:
    with pytest.raises(ModelNotSupported):
        router().route(caller(RouteRule(fallbacks=FALLBACKS), allowed_models=("gpt-long",)), a_request())


# --- shares -----------------------------------------------------------------------------------------------------------


def test_a_share_takes_the_place_of_whom_was_asked_and_the_others_of_it_stand_in() -> None:
    share = (Place("azure", weight=1.0), Place("openrouter", weight=3.0))
    rule = RouteRule(share=share, fallbacks=(Place("ollama"),))

    routes = {draw: named(router(draw).route(caller(rule), a_request())) for draw in (0.0, 0.24, 0.26, 1.0)}

    azure_first = ["azure/gpt4o-prod", "openrouter/openai/gpt-4o", "ollama/gpt-4o"]
    router_first = ["openrouter/openai/gpt-4o", "azure/gpt4o-prod", "ollama/gpt-4o"]
    assert routes == {0.0: azure_first, 0.24: azure_first, 0.26: router_first, 1.0: router_first}


def test_shares_are_as_large_as_their_weights() -> None:
    rule = RouteRule(share=(Place("azure", weight=1.0), Place("openrouter", weight=4.0), Place("openai", weight=5.0)))
    drawing = Router(router().planner, Random(1).random)

    firsts = Counter(drawing.route(caller(rule), a_request()).first.provider.id for _ in range(2_000))

    assert abs(firsts["azure"] - 200) < 60
    assert abs(firsts["openrouter"] - 800) < 100
    assert abs(firsts["openai"] - 1_000) < 100


def test_a_share_of_which_nothing_is_there_leaves_the_request_where_it_was() -> None:
    route = router().route(caller(RouteRule(share=(Place("nowhere"),))), a_request())

    assert named(route) == ["openai/gpt-4o"]


# --- long prompts -----------------------------------------------------------------------------------------------------


def a_route(**changes: Any) -> Route:
    return router().route(caller(RouteRule(**changes)), a_request())


def test_a_prompt_that_fits_stays_and_whom_it_does_not_fit_is_not_asked() -> None:
    small = a_model(name="small", context_window=50, names={"openai": "small"})
    planner = a_planner((OPENAI, ROUTER, AZURE), (GPT, LONG, small))
    rule = RouteRule(fallbacks=(Place("openai", "small"), Place("azure")))
    route = Router(planner).route(caller(rule), a_request())

    assert named(Router(planner).fitting(route, 40, a_request())) == [
        "openai/gpt-4o",
        "openai/small",
        "azure/gpt4o-prod",
    ]
    assert named(Router(planner).fitting(route, 60, a_request())) == ["openai/gpt-4o", "azure/gpt4o-prod"]


def test_a_prompt_that_does_not_fit_goes_to_a_larger_one() -> None:
    route = a_route(larger=(Place("azure"), Place("openai", "gpt-long")), fallbacks=(Place("azure"),))

    assert named(router().fitting(route, 2_000, a_request())) == ["openai/gpt-long"]


@pytest.mark.parametrize(("larger", "prompt"), [((), 2_000), ((Place("openai", "gpt-long"),), 200_000)])
def test_a_prompt_that_fits_nowhere_is_told_the_window_of_whom_was_asked(
    larger: tuple[Place, ...], prompt: int
) -> None:
    with pytest.raises(ContextLengthExceeded) as refusal:
        router().fitting(a_route(larger=larger), prompt, a_request())

    assert refusal.value.window == 1_000


# --- keys -------------------------------------------------------------------------------------------------------------


def test_each_key_of_a_provider_is_a_target_and_any_may_be_the_first() -> None:
    who = caller(RouteRule(fallbacks=(Place("azure"),)), api_keys={**KEYS, "openai": ("sk-1", "sk-2", "sk-3")})

    orders = [
        [target.key for target in router(draw).with_keys(router().route(who, a_request()), who.tenant).targets]
        for draw in (0.0, 0.4, 1.0)
    ]

    assert orders == [
        ["sk-1", "sk-2", "sk-3", "az"],
        ["sk-2", "sk-3", "sk-1", "az"],
        ["sk-3", "sk-1", "sk-2", "az"],
    ]


def test_who_has_no_key_or_no_address_is_not_fallen_back_to() -> None:
    who = caller(RouteRule(fallbacks=FALLBACKS), api_keys={"openai": ("sk-1",), "azure": ("az",)}, provider_options={})

    route = router().with_keys(router().route(who, a_request()), who.tenant)

    assert named(route) == ["openai/gpt-4o", "openai/gpt-long"]


def test_a_first_one_without_a_key_is_refused_whatever_the_fallbacks_are() -> None:
    who = caller(RouteRule(fallbacks=(Place("azure"),)), api_keys={"azure": ("az",)})

    with pytest.raises(NoApiKey):
        router().with_keys(router().route(who, a_request()), who.tenant)


@pytest.mark.parametrize(
    "changes", [{"key": "sk-2"}, {"sent_model": "gpt-5"}, {"base_url": "https://eu"}, {"provider": ROUTER}], ids=str
)
def test_targets_that_differ_in_anything_have_names_of_their_own_which_tell_no_key(changes: dict[str, Any]) -> None:
    one, other = a_target(), a_target(**changes)

    assert one.id != other.id
    assert (one.key_id == other.key_id) is not ("key" in changes or "base_url" in changes)
    assert "sk-" not in one.id + one.key_id
