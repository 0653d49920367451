"""The rows of the contract's first table: where provider and model come from, what is forwarded, what is refused."""

import re
from typing import Any

import pytest

from tests.http.member import HELLO, Member
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import Told, as_openai, plainly, told
from tests.provider.process import ProviderProcess

OPEN = [GROUP, TENANT]
ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
INVALID = "invalid_request_error"


# --- the provider -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_the_body_names_the_provider(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, provider="keyed")

    assert answer.headers["x-sluice-provider"] == "keyed"


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_where_nobody_names_a_provider_the_tenants_default_answers(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface)

    assert answer.headers["x-sluice-provider"] == "scripted"


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_an_unknown_provider_in_the_body_is_an_invalid_request(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, provider="nobody")

    error = told(answer, surface)
    assert (error.status, error.code, error.message) == (400, "provider_not_found", "Unknown provider")


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_a_tenant_without_a_default_insists_on_a_provider(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(default=None))

    answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code) == (400, "missing_required_parameter")
    assert error.message == "Missing required parameter: 'provider'; this tenant has no default."


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_without_a_model_the_tenants_default_is_asked(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    await member.whole(surface)

    assert provider.requests()[0].body["model"] == "echo"


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_without_a_default_of_the_tenant_the_providers_is_asked(
    replica: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    member = Member(replica, await replica.add_tenant(default="openai", default_model=None))

    await member.whole(surface)

    assert provider.requests()[0].body["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_where_there_is_no_default_at_all_the_model_is_missing(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(default_model=None))

    answer = await member.post(surface)

    error = told(answer, surface)
    assert (error.status, error.code) == (400, "missing_required_parameter")
    assert error.message == "Missing required parameter: 'model'."


async def test_the_provider_surface_asks_for_a_model_whatever_the_tenants_default(member: Member) -> None:
    answer = await member.post(PROVIDER, model=None)

    assert told(answer, PROVIDER) == Told(
        422, "missing_required_parameter", "Missing required parameter: 'model'.", INVALID, "model"
    )


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_unsupported_model_is_not_found(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(allowed_models=["echo"]))

    answer = await member.post(surface, model="words")

    error = told(answer, surface)
    assert (error.status, error.code) == (surface.model_status, "model_not_found")
    assert error.message == "The model 'words' does not exist or you do not have access to it."
    assert error.param == (None if surface is GROUP else "model")


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_group_may_be_allowed_less_than_its_tenant(replica: Replica, surface: Surface) -> None:
    member = Member(replica, await replica.add_tenant(groups={"staff": {"initial_tokens": 10_000, "models": ["echo"]}}))

    allowed = await member.whole(surface)
    refused = await member.post(surface, model="words")

    assert allowed.status_code == 200
    assert told(refused, surface).code == "model_not_found"


# --- fields that OpenAI does not have ---------------------------------------------------------------------------------

#: A body with unknown fields at every depth, and what each is called.
UNKNOWN: dict[str, Any] = {
    "top_k": 40,
    "x_nested": {"deep": [1, 2.5, None, True, "text"]},
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "x_part": 1}], "x_message": {"a": []}}],
    "tools": [{"type": "function", "function": {"name": "look", "x_function": 1}, "x_tool": 1}],
    "stream_options": {"x_option": True},
}


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_an_unknown_field_reaches_the_provider_unchanged(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    await member.stream(surface, **UNKNOWN)

    sent = provider.requests()[0].body
    asked = {**UNKNOWN, "stream_options": {"x_option": True, "include_usage": True}}
    assert sent == {**asked, "model": "echo", "stream": True}


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_field_of_the_gateway_never_reaches_the_provider(
    member: Member, provider: ProviderProcess, surface: Surface
) -> None:
    own = {"provider": "scripted", "cache_key": "key", "conversation_id": "talk", "group_id": "staff"}

    await member.whole(surface, **({} if surface is PROVIDER else own))

    body = provider.requests()[0].body
    expected = {"messages": HELLO, "model": "echo", "stream": surface is GROUP}
    assert {key: value for key, value in body.items() if key != "stream_options"} == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": 40}, "top_k"),
        ({"group_id": "staff"}, "group_id"),
        ({"provider": "scripted"}, "provider"),
        ({"cache_key": "key"}, "cache_key"),
        ({"conversation_id": "talk"}, "conversation_id"),
        ({"messages": [{"role": "user", "content": "Hi", "x_message": 1}]}, "messages[0].x_message"),
        (
            {"messages": [*HELLO, {"role": "user", "content": [{"type": "text", "text": "Hi", "x_part": 1}]}]},
            "messages[1].content[0].x_part",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "look", "x_function": 1}}]},
            "tools[0].function.x_function",
        ),
        ({"stream": True, "stream_options": {"x_option": 1}}, "stream_options.x_option"),
        ({"response_format": {"type": "text", "x_format": 1}}, "response_format.x_format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_provider_surface_refuses_an_unknown_field_and_names_it(
    member: Member, provider: ProviderProcess, fields: dict[str, Any], param: str
) -> None:
    answer = await member.post(PROVIDER, **fields)

    assert as_openai(answer) == Told(422, "unknown_parameter", f"Unknown parameter: '{param}'.", INVALID, param)
    assert provider.requests() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"anything": "goes"}},
        {"logit_bias": {"1": 5}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": {"y": 1}}}}]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"anything": {"goes": True}}, "strict": True},
            }
        },
    ],
    ids=["metadata", "logit_bias", "tools", "response_format"],
)
async def test_where_the_schema_has_a_map_no_key_is_unknown(member: Member, fields: dict[str, Any]) -> None:
    answer = await member.post(PROVIDER, **fields)

    assert answer.status_code == 200


# --- dialects, statuses and ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_invalid_body_has_the_surfaces_status(member: Member, surface: Surface) -> None:
    answer = await member.post(surface, temperature=3)

    error = told(answer, surface)
    message = "Invalid 'temperature': integer above maximum value. Expected a value <= 2.0, but got 3 instead."
    assert (error.status, error.code, error.message) == (surface.invalid_status, "integer_above_max_value", message)


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_an_empty_balance_is_told_plainly_on_the_surfaces_whose_documents_say_so(
    member: Member, surface: Surface
) -> None:
    member.replica.set_balance(member.tenant, 0)

    answer = await member.post(surface)

    assert plainly(answer) == Told(429, "insufficient_quota", "Insufficient tokens")
    assert answer.headers["x-should-retry"] == "false"


async def test_an_empty_balance_is_told_in_openais_words_on_the_provider_surface(member: Member) -> None:
    member.replica.set_balance(member.tenant, 0)

    answer = await member.post(PROVIDER)

    assert as_openai(answer) == Told(429, "insufficient_quota", "Insufficient tokens", "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_an_answer_has_the_surfaces_id_and_the_run_one_of_its_own(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface)

    run_id = answer.headers["x-completion-id"]
    assert re.fullmatch(surface.id_prefix + ULID, answer.json()["id"])
    assert re.fullmatch(("job-" if surface is GROUP else "chatcmpl-") + ULID, run_id)
    assert answer.json()["id"].partition("-")[2] == run_id.partition("-")[2]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_no_two_answers_share_an_id(member: Member, surface: Surface) -> None:
    answers = [await member.whole(surface) for _ in range(3)]

    assert len({answer.json()["id"] for answer in answers}) == 3


@pytest.mark.parametrize("wait", ["wait=10", 'wait="10"', "respond-async, wait=10", "WAIT=10; foo=bar"])
async def test_who_prefers_to_wait_gets_the_finished_completion(member: Member, wait: str) -> None:
    answer = await member.post(GROUP, headers={"Prefer": wait})

    assert answer.json()["object"] == "chat.completion"
    assert answer.headers["preference-applied"] == "wait=10"


@pytest.mark.parametrize("wait", ["wait=0", "wait", "wait=soon", "wait=-1", "respond-async", ""])
async def test_who_does_not_wait_gets_a_job(member: Member, wait: str) -> None:
    answer = await member.post(GROUP, headers={"Prefer": wait})

    job = answer.json()
    assert job.keys() == {"id", "status", "eta"}
    assert (job["id"], job["status"]) == (answer.headers["x-completion-id"], "queued")
    assert job["eta"] >= 1


@pytest.mark.parametrize("stream", [False, None])
@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_stream_false_or_null_is_a_whole_answer(member: Member, surface: Surface, stream: object) -> None:
    answer = await member.post(surface, stream=stream)

    assert answer.json()["object"] == "chat.completion"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_stream_true_is_a_stream(member: Member, surface: Surface) -> None:
    answer = await member.stream(surface)

    assert answer.text() == "Hello, who are you?"
    assert answer.is_done
