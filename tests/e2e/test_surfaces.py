"""The three surfaces in front of a real llama.cpp server, with curl as the client."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conftest import PROMPT_CANARY, require_silence, token
from tests.gateway import SECRET, GatewayProcess
from tests.llama.process import LlamaProcess
from tests.nursery import Nursery
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: The tiny model's end of text, which it would otherwise come to at any moment.
GO_ON = {"4": -100}
MESSAGES = [{"role": "user", "content": f"Say something about {PROMPT_CANARY}"}]


@pytest.fixture
def gateway(tmp_path: Path, redis: RedisServer, llama: LlamaProcess, nursery: Nursery) -> Iterator[GatewayProcess]:
    document = {
        "groups": {"anonymous": {"initial_tokens": 10_000}, "staff": {"initial_tokens": 100_000}},
        "default": "upstream",
        "default_model": "tiny",
    }
    redis.command("SET", "tenant:acme", json.dumps(document))
    environment = {
        "SLUICE_REDIS_URL": redis.url,
        "SLUICE_JWT_SECRET": SECRET,
        "SLUICE_UPSTREAM": llama.base_url,
        "SLUICE_LOG_LEVEL": "debug",
    }
    with GatewayProcess.start(tmp_path / "gateway.log", environment, nursery=nursery) as running:
        yield running
    require_silence(running.log)


@pytest.mark.parametrize(
    ("path", "headers", "fields"),
    [
        ("/v1/chat/completions", ["X-Tenant-Id: acme"], {"group_id": "anonymous"}),
        ("/acme/v1/chat/completions", ["Authorization: Bearer {token}"], {}),
        ("/upstream/v1/chat/completions", ["Authorization: Bearer {token}"], {"model": "tiny"}),
    ],
)
def test_curl_sees_a_stream_word_by_word_up_to_done(
    gateway: GatewayProcess, path: str, headers: list[str], fields: dict[str, str]
) -> None:
    body = json.dumps({**fields, "messages": MESSAGES, "stream": True, "max_tokens": 24, "logit_bias": GO_ON})
    named = [part for header in headers for part in ("-H", header.format(token=token(user="u9")))]
    command = ["curl", "-sSN", "--max-time", "30", *named, "-H", "Content-Type: application/json", "-d", body]

    told = subprocess.run([*command, gateway.origin + path], capture_output=True, text=True, check=True).stdout

    data = [line.removeprefix("data: ") for line in told.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in data[:-1]]
    assert data[-1] == "[DONE]"
    assert len([chunk for chunk in chunks if chunk["choices"][0]["delta"].get("content")]) > 12
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert len({chunk["id"] for chunk in chunks}) == 1


@pytest.mark.parametrize("surface", ["acme", "upstream"])
async def test_openais_client_gets_the_same_sync_and_async(gateway: GatewayProcess, surface: str) -> None:
    options = {
        "model": "tiny",
        "messages": MESSAGES,
        "max_tokens": 24,
        "logit_bias": GO_ON,
        "seed": 7,
        "temperature": 0,
    }
    base_url = f"{gateway.origin}/{surface}/v1"

    whole = OpenAI(base_url=base_url, api_key=token(user="u9")).chat.completions.create(**options)  # type: ignore[call-overload] # options are a dictionary
    async with AsyncOpenAI(base_url=base_url, api_key=token(user="u9")) as client:
        stream = await client.chat.completions.create(**options, stream=True)  # type: ignore[call-overload] # as above
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0


def test_what_llama_cpp_used_is_what_the_balance_pays(gateway: GatewayProcess, redis: RedisServer) -> None:
    client = OpenAI(base_url=f"{gateway.origin}/acme/v1", api_key=token(user="u9"))

    answer = client.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES, max_tokens=12)  # type: ignore[arg-type] # plain dictionaries

    used = answer.parse().usage
    assert used is not None
    assert answer.headers["x-sluice-charged-tokens"] == str(used.total_tokens)
    assert int(redis.command("GET", "tokens:acme:staff:u9")) == 100_000 - used.total_tokens
