"""A real server, llama.cpp's, that is killed in the middle of its answer: another one goes on with it."""

import json
from pathlib import Path

import pytest

from tests.e2e.client import complete, fetch, text_of
from tests.e2e.conftest import TENANT, USER
from tests.gateway import SECRET, GatewayProcess
from tests.llama.process import LlamaProcess
from tests.nursery import Nursery
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio, pytest.mark.usefixtures("partings")]

#: The tiny model's end of text, which it would otherwise come to at any moment.
GO_ON = {"4": -100}
TOKENS = 400
PROVIDERS = """
[first]
name = "First"
base_url = "{first}"
key = "optional"
models = "any"

[second]
name = "Second"
base_url = "{second}"
key = "optional"
models = "any"
quirks = {quirks}
"""


@pytest.mark.parametrize(("quirks", "how"), [("{ prefill = {} }", "prefill"), ("{}", "repeat")])
async def test_an_answer_whose_server_is_killed_is_gone_on_with_by_another(
    tmp_path: Path, redis: RedisServer, llama: LlamaProcess, nursery: Nursery, quirks: str, how: str
) -> None:
    document = {
        "user_groups": ["staff"],
        "default": "first",
        "default_model": "tiny",
        "routes": [{"fallbacks": [{"provider": "second"}]}],
    }
    redis.command("SET", f"tenant:{TENANT}", json.dumps(document))
    redis.command("SET", f"tokens:{TENANT}:staff:{USER}", 1_000_000)
    with LlamaProcess.start(tmp_path) as first:
        named = PROVIDERS.format(first=first.base_url, second=llama.base_url, quirks=quirks)
        (tmp_path / "providers.toml").write_text(named)
        settings = {
            "SLUICE_REDIS_URL": redis.url,
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_PROVIDERS": str(tmp_path / "providers.toml"),
            "SLUICE_LOG_LEVEL": "debug",
        }
        with GatewayProcess.start(tmp_path / "gateway.log", settings, nursery=nursery) as gateway:
            answer = await complete(
                gateway, "tiny", stream=True, max_tokens=TOKENS, temperature=0, seed=1, logit_bias=GO_ON
            )
            await answer.until_events(10)
            first.kill()
            body = await answer.rest()
            state = await fetch(gateway, answer.run_id)

    assert f"continued={how}" in gateway.log
    assert body.count(b"data: [DONE]") == 1
    assert b'"error"' not in body
    assert state.headers["x-sluice-attempts"] == "2"
    assert state.json["choices"][0]["message"]["content"] == text_of(body)
