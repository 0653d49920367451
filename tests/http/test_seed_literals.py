"""Every literal of the three documents that asked for this service, quoted: paths, bodies, statuses, lines."""

import json
import re
from typing import Any

import httpx
import pytest

from domain.ledger import Account
from tests.http.frames import Stream, read_stream
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.strict import require_completion
from tests.http.surfaces import GROUP, PROVIDER, TENANT
from tests.provider.process import ProviderProcess

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

#: The body of "Text-Based Chat Completions Endpoint", POST /v1/chat/completions, as it is printed there.
GROUP_BODY = b"""
    {
      "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello, who are you?"}
      ],
      "model": "gpt-4o",
      "stream": true,
      "group_id": "anonymous",
      "cache_key": "intro-conversation-v1",
      "provider": "openai"
    }
"""
#: The body of POST /:tenantId/v1/chat/completions, as it is printed there.
TENANT_BODY = b"""
    {
      "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello, who are you?"}
      ],
      "model": "gpt-4",
      "stream": true
    }
"""
#: A tenant's configuration in the words of the first document: ``user_groups``, ``api_keys.openai``, ``default``.
TENANT_CONFIG: dict[str, Any] = {
    "user_groups": ["anonymous", "staff"],
    "api_keys": {"openai": "sk-made-up"},
    "default": "openai",
}


async def configure(acme: Member, **changes: Any) -> None:
    """Write Acme's configuration; nobody in particular has tokens to spend, too, unless it says otherwise."""
    granted = {"groups": {"anonymous": {"initial_tokens": 1_000_000}}}
    await acme.replica.put_tenant(acme.tenant, {**TENANT_CONFIG, **granted, **changes})


@pytest.fixture
async def acme(replica: Replica) -> Member:
    """Ann of Acme, whose configuration is the documents', with tokens to spend."""
    member = Member(replica, await replica.add_tenant())
    await configure(member)
    replica.set_balance(member.tenant, 1_000_000)
    return member


async def post(
    replica: Replica, path: str, body: bytes, headers: dict[str, str] | None = None, **changes: Any
) -> httpx.Response:
    """Post the body as it is printed; with ``changes``, these fields are different."""
    content = json.dumps({**json.loads(body), **changes}).encode() if changes else body
    return await replica.client.post(
        path, content=content, headers={"Content-Type": "application/json", **(headers or {})}
    )


async def as_group(acme: Member, **changes: Any) -> httpx.Response:
    return await post(acme.replica, "/v1/chat/completions", GROUP_BODY, {"X-Tenant-Id": acme.tenant}, **changes)


async def as_member(acme: Member, **changes: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {acme.token}"}
    return await post(acme.replica, f"/{acme.tenant}/v1/chat/completions", TENANT_BODY, headers, **changes)


def said(stream: Stream) -> str:
    """The text of a stream, read from the very shape that the documents print."""
    contents = [chunk["choices"][0]["delta"].get("content") for chunk in stream.chunks]
    return "".join(content for content in contents if content)


# --- POST /v1/chat/completions: the tenant in a header, the group in the body -----------------------------------------


async def test_the_group_surface_takes_the_body_as_it_is_printed(acme: Member) -> None:
    answer = read_stream(await as_group(acme))

    assert said(answer) == "Hello, who are you?"


async def test_the_tenant_is_in_the_header_x_tenant_id_which_is_required(acme: Member) -> None:
    answer = await post(acme.replica, "/v1/chat/completions", GROUP_BODY)

    assert (answer.status_code, answer.json()) == (400, {"error": "Missing required header: 'X-Tenant-Id'."})


@pytest.mark.parametrize("field", ["messages", "group_id"])
async def test_messages_and_group_id_are_required(acme: Member, field: str) -> None:
    answer = await as_group(acme, **{field: None})

    assert (answer.status_code, answer.json()) == (400, {"error": f"Missing required parameter: '{field}'."})


@pytest.mark.parametrize("field", ["model", "stream", "cache_key", "provider"])
async def test_the_other_fields_of_the_group_surface_are_optional(acme: Member, field: str) -> None:
    answer = await as_group(acme, **{field: None})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("messages", {}), ("model", 1), ("stream", "true"), ("group_id", 1), ("cache_key", 1), ("provider", [])],
)
async def test_a_field_of_another_type_is_an_invalid_body(acme: Member, field: str, wrong: object) -> None:
    answer = await as_group(acme, **{field: wrong})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"Invalid type for '{field}': expected ")


async def test_without_a_provider_the_tenants_default_answers(acme: Member) -> None:
    answer = await as_group(acme, provider=None)

    assert answer.headers["x-sluice-provider"] == "openai"


async def test_a_group_that_is_not_in_user_groups_is_an_invalid_group_id(acme: Member) -> None:
    answer = await as_group(acme, group_id="strangers")

    assert answer.status_code == 400
    assert answer.content == b'{"error":"Invalid group_id"}'


async def test_without_an_openai_key_none_is_configured(acme: Member) -> None:
    await configure(acme, api_keys={})

    answer = await as_group(acme)

    assert answer.status_code == 403
    assert answer.content == b'{"error":"No OpenAI API key configured"}'


async def test_without_tokens_the_group_surface_says_insufficient_tokens(acme: Member) -> None:
    await configure(acme, groups={"anonymous": {"initial_tokens": 0}})

    answer = await as_group(acme)

    assert answer.status_code == 429
    assert answer.content == b'{"error":"Insufficient tokens"}'


async def test_one_token_is_enough_to_be_admitted(acme: Member) -> None:
    await configure(acme, groups={"anonymous": {"initial_tokens": 1}})

    answer = await as_group(acme)

    assert answer.status_code == 200


async def test_a_stream_has_the_headers_of_server_sent_events(acme: Member) -> None:
    answer = await as_group(acme)

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Connection"] == "keep-alive"


async def test_the_group_surface_streams_deltas_of_a_job(acme: Member) -> None:
    answer = read_stream(await as_group(acme))

    ids = {chunk["id"] for chunk in answer.chunks}
    assert len(ids) == 1
    assert re.fullmatch(f"job-{ULID}", ids.pop())
    assert {"delta": {"content": "Hello, "}}.items() <= answer.chunks[1]["choices"][0].items()


async def test_without_streaming_a_job_is_queued(process: ProviderProcess) -> None:
    async with running(process) as fresh:
        acme = Member(fresh, await fresh.add_tenant())
        await configure(acme)
        answer = await as_group(acme, stream=False)

    job = answer.json()
    assert answer.status_code == 200
    assert re.fullmatch(f"job-{ULID}", job["id"])
    assert job == {"id": job["id"], "status": "queued", "eta": 2}


async def test_nobodys_user_id_is_anonymous_and_a_random_uuid(acme: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger: Any = acme.replica.container.ledger()
    accounts: list[Account] = []
    hold = ledger.hold

    async def noting(account: Account, *rest: Any, **more: Any) -> Any:
        accounts.append(account)
        return await hold(account, *rest, **more)

    monkeypatch.setattr(ledger, "hold", noting)
    await as_group(acme, cache_key="one")
    await as_group(acme, cache_key="another")

    assert all(re.fullmatch(f"anonymous-{UUID4}", account.user) for account in accounts)
    assert len({account.user for account in accounts}) == 2


async def test_each_request_logs_the_line_of_the_documents_once(acme: Member, text_log: Log) -> None:
    answer = read_stream(await as_group(acme))

    line = f"[INFO] Processing chat completion for {acme.tenant}:{answer.run_id}"
    assert [logged for logged in text_log.lines if "Processing" in logged] == [line]


# --- POST /:tenantId/v1/chat/completions: the tenant in the path, the user in the token ------------------------------


async def test_the_tenant_surface_takes_the_body_as_it_is_printed(acme: Member) -> None:
    answer = read_stream(await as_member(acme))

    assert said(answer) == "Hello, who are you?"


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer invalid"}], ids=["missing", "invalid"])
async def test_a_missing_or_invalid_bearer_token_is_401(acme: Member, given: dict[str, str]) -> None:
    answer = await post(acme.replica, f"/{acme.tenant}/v1/chat/completions", TENANT_BODY, given)

    assert answer.status_code == 401


async def test_unauthorized_tenant_access_is_403(acme: Member) -> None:
    stranger = {"Authorization": f"Bearer {acme.replica.token('globex')}"}

    answer = await post(acme.replica, f"/{acme.tenant}/v1/chat/completions", TENANT_BODY, stranger)

    assert answer.status_code == 403


async def test_a_missing_api_key_configuration_is_403(acme: Member) -> None:
    await configure(acme, api_keys={})

    answer = await as_member(acme)

    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "No OpenAI API key configured"


async def test_messages_must_be_formatted_with_role_and_content(acme: Member) -> None:
    without_role = await as_member(acme, messages=[{"content": "Hello"}])
    without_content = await as_member(acme, messages=[{"role": "user"}])

    assert (without_role.status_code, without_role.json()["error"]["param"]) == (400, "messages[0].role")
    assert (without_content.status_code, without_content.json()["error"]["param"]) == (400, "messages[0].content")


async def test_an_unsupported_model_is_400(acme: Member) -> None:
    answer = await as_member(acme, model="claude")

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_messages_that_exceed_the_token_limit_are_400(acme: Member) -> None:
    answer = await as_member(acme, messages=[{"role": "user", "content": "word " * 9_000}])

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_a_tenant_over_its_rate_limit_is_429(acme: Member) -> None:
    await configure(acme, limits={"requests_per_minute": 1})
    await as_member(acme)

    answer = await as_member(acme)

    assert answer.status_code == 429
    assert {"message": "Rate limit exceeded"}.items() <= answer.json()["error"].items()


async def test_without_tokens_the_tenant_surface_says_insufficient_tokens(acme: Member) -> None:
    acme.replica.set_balance(acme.tenant, 0)

    answer = await as_member(acme)

    assert answer.status_code == 429
    assert answer.content == b'{"error":"Insufficient tokens"}'


async def test_the_balance_is_that_of_the_tokens_user_in_the_tenant(acme: Member) -> None:
    acme.replica.set_balance(acme.tenant, 500_000, user="bob")

    await as_member(acme, stream=False)

    assert await acme.replica.available(acme.tenant, user="bob") == 500_000
    assert await acme.replica.available(acme.tenant, user="ann") < 1_000_000


async def test_an_internal_server_error_is_500(acme: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(acme.replica.container.tenants(), "get", break_down)

    answer = await as_member(acme)

    assert answer.status_code == 500


async def test_the_tenant_surface_streams_with_status_200_and_the_same_headers(acme: Member) -> None:
    answer = await as_member(acme)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Connection"] == "keep-alive"


async def test_the_tenant_surface_streams_deltas_of_a_conversation_with_a_generated_id(acme: Member) -> None:
    answer = read_stream(await as_member(acme))

    ids = {chunk["id"] for chunk in answer.chunks}
    assert len(ids) == 1
    assert re.fullmatch(f"conv-{ULID}", ids.pop())
    assert {"delta": {"content": "Hello, "}}.items() <= answer.chunks[1]["choices"][0].items()


async def test_a_conversation_id_that_was_given_is_the_answers(acme: Member) -> None:
    answer = await as_member(acme, stream=False, conversation_id="conv-123")

    assert answer.json()["id"] == "conv-123"


async def test_without_streaming_the_tenant_surface_answers_with_an_assistants_message(acme: Member) -> None:
    answer = await as_member(acme, stream=False)

    body = answer.json()
    assert re.fullmatch(f"conv-{ULID}", body["id"])
    assert {"role": "assistant", "content": "Hello, who are you?"}.items() <= body["choices"][0]["message"].items()


async def test_the_tenant_surface_logs_the_line_of_the_documents(acme: Member, text_log: Log) -> None:
    answer = await as_member(acme)

    line = f"[INFO] Processing chat completion for {acme.tenant}:{answer.headers['x-completion-id']}"
    assert text_log.lines.count(line) == 1


# --- POST /{provider}/v1/chat/completions: OpenAI's API -------------------------------------------------------------

#: The optional parameters that the document lists, each with a value that is not its default.
OPTIONAL: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "n": 2,
    "max_tokens": 50,
    "presence_penalty": -1.5,
    "frequency_penalty": 1.5,
    "stop": ["\n\n"],
    "user": "user-1234",
    "logit_bias": {"50256": -100},
    "response_format": {"type": "json_object"},
    "seed": 42,
    "stream": False,
}


async def at_openai(acme: Member, **fields: Any) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **fields}
    given = {key: value for key, value in body.items() if value is not ...}
    headers = {"Authorization": f"Bearer {acme.token}"}
    return await acme.replica.client.post("/openai/v1/chat/completions", json=given, headers=headers)


async def test_the_provider_surface_answers_to_the_letter_of_the_schema(acme: Member) -> None:
    answer = await at_openai(acme)

    body = answer.json()
    assert answer.status_code == 200
    require_completion(body, closed=True)
    assert re.fullmatch(f"chatcmpl-{ULID}", body["id"])
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= body["usage"].keys()


@pytest.mark.parametrize("field", ["model", "messages"])
async def test_model_and_messages_are_required_of_the_provider_surface(acme: Member, field: str) -> None:
    answer = await at_openai(acme, **{field: ...})

    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == field


@pytest.mark.parametrize("parameter", OPTIONAL)
async def test_an_optional_parameter_reaches_the_provider(
    acme: Member, provider: ProviderProcess, parameter: str
) -> None:
    answer = await at_openai(acme, **{parameter: OPTIONAL[parameter]})

    assert answer.status_code == 200
    assert provider.requests()[0].body[parameter] == OPTIONAL[parameter]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
async def test_a_role_of_the_allowed_set_is_taken(acme: Member, role: str) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = [{"role": "assistant", "tool_calls": [call]}] if role == "tool" else []
    named = {"tool_call_id": "call_1"} if role == "tool" else {}

    answer = await at_openai(acme, messages=[*asked, {"role": role, "content": "Hello", **named}])

    assert answer.status_code == 200


async def test_a_role_outside_the_allowed_set_is_422(acme: Member) -> None:
    answer = await at_openai(acme, messages=[{"role": "robot", "content": "Hello"}])

    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "messages[0].role"


async def test_malformed_messages_are_422(acme: Member) -> None:
    answer = await at_openai(acme, messages="Hello")

    assert answer.status_code == 422


async def test_extra_fields_are_forbidden_on_the_provider_surface(acme: Member) -> None:
    answer = await at_openai(acme, group_id="anonymous")

    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "group_id"


async def test_unauthorized_is_401_with_a_challenge(acme: Member) -> None:
    answer = await acme.replica.client.post("/openai/v1/chat/completions", content=b"{}")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_unknown_provider_is_404(acme: Member) -> None:
    headers = {"Authorization": f"Bearer {acme.token}"}

    answer = await acme.replica.client.post("/nobody/v1/chat/completions", content=b"{}", headers=headers)

    assert answer.status_code == 404


async def test_a_providers_failure_is_502(member: Member) -> None:
    answer = await member.post(PROVIDER, model="status-500")

    assert answer.status_code == 502


async def test_stream_true_streams_as_the_documentation_says(acme: Member) -> None:
    answer = read_stream(await at_openai(acme, stream=True))

    assert said(answer) == "Hello"
    assert answer.is_done


async def test_a_provider_without_usage_is_made_up_for(member: Member) -> None:
    answer = await member.post(PROVIDER, model="usage-none")

    assert answer.json()["usage"]["completion_tokens"] > 0


async def test_the_log_has_the_fields_of_the_document_and_no_content(acme: Member, json_log: Log) -> None:
    await at_openai(acme, messages=[{"role": "user", "content": "something private"}])

    line = json_log.of("Request served")[0]
    assert line["request_id"].startswith("req_")
    assert line["provider"] == "openai"
    assert line["route"] == "/{scope}/v1/chat/completions"
    assert line["status_code"] == 200
    assert line["duration_ms"] > 0
    assert "private" not in json_log.text


@pytest.mark.parametrize("surface", [GROUP, TENANT, PROVIDER], ids=str)
async def test_a_request_id_is_passed_to_the_provider(member: Member, provider: ProviderProcess, surface: Any) -> None:
    await member.post(surface, headers={"X-Request-Id": "req-of-the-client", "Prefer": "wait=10"})

    assert provider.requests()[0].headers["x-request-id"] == "req-of-the-client"
