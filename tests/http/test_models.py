"""The models that a caller may use, in OpenAI's list form."""

import pytest

from tests.http.member import Member
from tests.http.replica import PROVIDER_KEY, Replica
from tests.http.strict import require_model, require_models
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told

OWN = {"house-model": {"provider": "scripted", "name": "echo"}, "other": {"provider": "keyed"}}


async def names(member: Member, surface: Surface, root: str | None = None) -> list[str]:
    path = (surface.root(member.tenant) if root is None else root) + "/v1/models"
    answer = await member.replica.client.get(path, headers=member.headers(surface))
    require_models(answer.json())
    return [model["id"] for model in answer.json()["data"]]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_list_is_openais_to_the_letter(member: Member, surface: Surface) -> None:
    answer = await member.get(surface, "/v1/models")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    require_models(answer.json())
    assert answer.json()["data"]


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_a_tenant_has_the_models_of_all_providers_it_has_keys_for(member: Member, surface: Surface) -> None:
    listed = await names(member, surface)

    assert {"echo", "gpt-4o", "gpt-4"} <= set(listed)
    assert not any("claude" in name for name in listed)
    assert len(listed) == len(set(listed))


async def test_at_a_provider_there_are_its_models_only(member: Member) -> None:
    assert "gpt-4o" in await names(member, PROVIDER, "/openai")
    assert "gpt-4o" not in await names(member, PROVIDER)


async def test_a_provider_without_a_key_of_the_tenants_still_tells_its_models(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant(api_keys={}))

    assert "gpt-4o" in await names(member, PROVIDER, "/openai")
    assert "gpt-4o" not in await names(member, TENANT)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_tenants_own_models_are_listed_where_they_are_served(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(models=OWN))

    listed = await names(member, surface)

    assert "house-model" in listed
    assert ("other" in listed) == (surface is not PROVIDER)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_what_tenant_or_group_may_not_use_is_not_listed(replica: Replica, surface: Surface) -> None:
    groups = {"staff": {"models": ["house-*"]}}
    member = Member(
        replica, await replica.add_tenant(models=OWN, groups=groups, allowed_models=["house-model", "other"])
    )

    assert await names(member, surface) == ["house-model"]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_each_listed_model_can_be_had_by_itself_and_used(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(models=OWN, allowed_models=["house-model"]))

    model = await member.get(surface, "/v1/models/house-model")
    answer = await member.whole(surface, model="house-model")

    require_model(model.json())
    assert model.json() == {"id": "house-model", "object": "model", "created": 0, "owned_by": "scripted"}
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["nothing", "gpt-4o/x", "a/b/c", "%00", "%F0%9F%92%A5", "x" * 300])
@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_model_that_is_not_listed_is_404_everywhere(member: Member, surface: Surface, name: str) -> None:
    answer = await member.get(surface, f"/v1/models/{name}")

    error = told(answer, surface)
    assert (error.status, error.code) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "openai%2Fgpt-4o"])
async def test_a_model_answers_to_its_names(replica: Replica, path: str) -> None:
    member = Member(replica, await replica.add_tenant(api_keys={"openrouter": PROVIDER_KEY, "openai": PROVIDER_KEY}))

    answer = await member.get(TENANT, f"/v1/models/{path}")

    assert answer.json()["id"] == path.replace("%2F", "/")


async def test_at_a_provider_a_model_answers_to_that_providers_names_only(member: Member) -> None:
    own = await member.replica.client.get("/openai/v1/models/gpt-4o", headers=member.headers(PROVIDER))
    anothers = await member.replica.client.get("/openai/v1/models/openai/gpt-4o", headers=member.headers(PROVIDER))

    assert own.json()["id"] == "gpt-4o"
    assert told(anothers, PROVIDER).code == "model_not_found"


async def test_the_values_in_a_path_are_percent_decoded(replica: Replica) -> None:
    member = Member(replica, await replica.add_tenant("ann@models.example", models=OWN))

    answer = await replica.client.get("/ann%40models.example/v1/models/house%2Dmodel", headers=member.headers(TENANT))

    assert answer.json()["id"] == "house-model"


async def test_without_a_token_the_group_surface_tells_what_anybody_may_use(replica: Replica) -> None:
    groups = {"staff": {}, "anonymous": {"models": ["house-model"]}}
    tenant = await replica.add_tenant(models=OWN, groups=groups)

    answer = await replica.client.get("/v1/models", headers={"X-Tenant-Id": tenant})

    assert [model["id"] for model in answer.json()["data"]] == ["house-model"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo"])
async def test_who_is_calling_is_asked_here_too(member: Member, path: str) -> None:
    client = member.replica.client

    without_tenant = await client.get(path)
    at_the_tenant = await client.get(f"/{member.tenant}{path}")
    at_the_provider = await client.get(f"/scripted{path}")

    assert told(without_tenant, GROUP).code == "missing_tenant_id"
    assert told(at_the_tenant, TENANT).code == "invalid_api_key"
    assert told(at_the_provider, PROVIDER).code == "invalid_api_key"
