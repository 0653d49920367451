"""OpenAI's own client, unchanged but for its base URL."""

import json

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.e2e.conftest import ANSWER_CANARY, PROMPT_CANARY, TENANT, set_up_tenant, token
from tests.gateway import GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

SURFACES = ["openai", TENANT]
WORDS = f"one two {ANSWER_CANARY} {PROMPT_CANARY}"


def strict(answer: BaseModel) -> None:
    """Fail unless the client's own model takes the answer without converting anything."""
    type(answer).model_validate_json(answer.model_dump_json(exclude_unset=True), strict=True)


@pytest.fixture(params=SURFACES)
def base_url(request: pytest.FixtureRequest, gateway: GatewayProcess) -> str:
    return f"{gateway.origin}/{request.param}/v1"


@pytest.fixture
def client(base_url: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key=token())


def test_a_whole_answer_is_the_providers(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": WORDS}])

    strict(answer)
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == WORDS
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_same_answer_in_pieces(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="echo",
            messages=[{"role": "user", "content": WORDS}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    for chunk in chunks:
        strict(chunk)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WORDS
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].choices == []


async def test_the_asynchronous_client_gets_the_same(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key=token()) as client:
        stream = await client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": WORDS}], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        whole = await client.chat.completions.create(model="echo", messages=[{"role": "user", "content": WORDS}])

    assert "".join(pieces) == whole.choices[0].message.content == WORDS


def test_tool_calls_go_to_the_client_and_their_results_to_the_provider(client: OpenAI) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
        for name in ("weather", "time")
    ]
    question = {"role": "user", "content": "What is it like?"}
    asked = client.chat.completions.create(model="tools", messages=[question], tools=tools)  # type: ignore[list-item, arg-type] # plain dictionaries, as people write them
    message = asked.choices[0].message
    assert message.tool_calls is not None
    results = [{"role": "tool", "tool_call_id": call.id, "content": "mild"} for call in message.tool_calls]

    told = client.chat.completions.create(
        model="tools",
        messages=[question, message.model_dump(exclude_none=True), *results],  # type: ignore[list-item] # as above
        tools=tools,  # type: ignore[arg-type] # as above
    )

    assert asked.choices[0].finish_reason == "tool_calls"
    assert all(json.loads(call.function.arguments) is not None for call in message.tool_calls)  # type: ignore[union-attr] # they are functions
    assert "mild" in (told.choices[0].message.content or "")


def test_models_are_listed_as_openai_lists_them(client: OpenAI, redis: RedisServer) -> None:
    models = list(client.models.list())

    assert "gpt-4o" in {model.id for model in models}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_the_clients_request_id_is_the_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=[{"role": "user", "content": WORDS}])

    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_an_empty_balance_is_told_once_and_not_retried(gateway: GatewayProcess, redis: RedisServer) -> None:
    redis.command("SET", "tokens:acme:staff:u1", 0)
    client = OpenAI(base_url=f"{gateway.origin}/openai/v1", api_key=token(), max_retries=2)

    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": WORDS}])

    assert refused.value.code == "insufficient_quota"
    assert gateway.log.count("status_code=429") == 1


def test_the_clients_exceptions_are_those_of_openai(
    gateway: GatewayProcess, redis: RedisServer, provider: ProviderProcess
) -> None:
    set_up_tenant(redis, models={"small": {"provider": "openai", "context_window": 8}})
    client = OpenAI(base_url=f"{gateway.origin}/openai/v1", api_key=token(), max_retries=0)
    message = {"role": "user", "content": WORDS}

    def raised(client: OpenAI, model: str, **more: object) -> type[Exception]:
        with pytest.raises(openai.APIStatusError) as error:
            client.chat.completions.create(model=model, messages=[message], **more)  # type: ignore[call-overload] # wrong on purpose
        return type(error.value)

    assert raised(client.with_options(api_key="wrong"), "echo") is openai.AuthenticationError
    assert raised(client.with_options(api_key=token(tenants=("other",))), "echo") is openai.PermissionDeniedError
    assert raised(client.with_options(base_url=f"{gateway.origin}/nowhere/v1"), "echo") is openai.NotFoundError
    assert raised(client, "echo", extra_body={"colour": "red"}) is openai.UnprocessableEntityError
    assert raised(client, "small") is openai.BadRequestError
    assert raised(client, "error-param") is openai.BadRequestError
    assert raised(client, "status-500") is openai.InternalServerError
    assert raised(client, "status-429-ra5") is openai.RateLimitError


def test_a_stream_that_the_provider_cuts_raises(client: OpenAI) -> None:
    heard: list[ChatCompletionChunk] = []

    with pytest.raises(openai.APIError):
        heard.extend(
            chunk
            for chunk in client.chat.completions.create(
                model="cut-mid-n3", messages=[{"role": "user", "content": WORDS}], stream=True
            )
            if heard.append(chunk) is None  # type: ignore[func-returns-value] # keeps what came before the error
        )

    assert len(heard) >= 3
