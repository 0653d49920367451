"""What replicas share through Redis: balances, limits, tenants and runs."""

import asyncio
import json
import time

import httpx
import pytest

from tests.e2e.conftest import ANSWER_CANARY, PROMPT_CANARY, Start, set_up_tenant, token
from tests.gateway import GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e


def body(**fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"{PROMPT_CANARY} {ANSWER_CANARY}"}], **fields}


def ask(gateway: GatewayProcess, **fields: object) -> httpx.Response:
    return httpx.post(
        f"{gateway.origin}/acme/v1/chat/completions",
        json=body(**fields),
        headers={"Authorization": f"Bearer {token()}"},
        timeout=20,
    )


def test_a_balance_set_by_hand_is_the_truth_at_once(gateway: GatewayProcess, redis: RedisServer) -> None:
    redis.command("SET", "tokens:acme:staff:u1", 0)
    refused = ask(gateway)
    redis.command("SET", "tokens:acme:staff:u1", 500)

    served = ask(gateway)

    assert (refused.status_code, refused.json()) == (429, {"error": "Insufficient tokens"})
    assert served.status_code == 200
    assert int(redis.command("GET", "tokens:acme:staff:u1")) == 500 - served.json()["usage"]["total_tokens"]


def test_a_tenant_edited_in_redis_changes_within_five_seconds(gateway: GatewayProcess, redis: RedisServer) -> None:
    before = ask(gateway)
    set_up_tenant(redis, api_keys={})
    edited = time.monotonic()

    while (after := ask(gateway)).status_code == 200 and time.monotonic() < edited + 10:
        pass

    assert before.status_code == 200
    assert after.json()["error"]["message"] == "No OpenAI API key configured"
    assert time.monotonic() - edited < 5


def test_two_replicas_share_one_limit(start: Start, redis: RedisServer) -> None:
    set_up_tenant(redis, limits={"requests_per_minute": 5})
    replicas = [start(), start()]

    answers = [ask(replicas[number % 2]) for number in range(8)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].json()["error"]["message"] == "Rate limit exceeded"
    assert answers[4].headers["x-ratelimit-remaining-requests"] == "0"
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_stream_cut_on_one_replica_goes_on_exactly_on_another(start: Start, provider: ProviderProcess) -> None:
    here, there = start(), start()
    headers = {"Authorization": f"Bearer {token()}"}
    url = f"{here.origin}/acme/v1/chat/completions"
    heard = ""
    with httpx.stream("POST", url, json=body(model="words-n40-i20", stream=True), headers=headers) as response:
        location = response.headers["content-location"]
        for text in response.iter_text():
            heard += text
            if heard.count("\n\n") >= 5:
                break
    heard = heard[: heard.rindex("\n\n") + 2]
    last = [line for line in heard.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")

    rest = httpx.get(f"{there.origin}{location}?stream=true", headers={**headers, "Last-Event-ID": last}, timeout=20)
    whole = httpx.get(f"{there.origin}{location}?stream=true", headers=headers, timeout=20)

    assert heard + rest.text.removeprefix("retry: 2000\n") == whole.text
    assert whole.text.endswith("data: [DONE]\n\n")
    assert len(provider.requests()) == 1


def test_a_job_accepted_here_can_be_fetched_there(start: Start, redis: RedisServer) -> None:
    set_up_tenant(redis, groups={"anonymous": {"initial_tokens": 10_000}})
    here, there = start(), start()
    tenant = {"X-Tenant-Id": "acme"}

    queued = httpx.post(
        f"{here.origin}/v1/chat/completions", json=body(group_id="anonymous", model="words-n10-i20"), headers=tenant
    )
    state = httpx.get(
        f"{there.origin}{queued.headers['content-location']}", headers={**tenant, "Prefer": "wait=20"}, timeout=30
    )

    assert queued.json().keys() == {"id", "status", "eta"}
    assert queued.json()["status"] == "queued"
    assert state.json()["status"] == "completed"
    assert state.json()["choices"][0]["message"]["content"].split() == [f"w{number}" for number in range(10)]
    assert state.json()["id"] == queued.json()["id"]


def test_forty_requests_at_once_on_two_replicas_spend_no_more_than_there_is(start: Start, redis: RedisServer) -> None:
    redis.command("SET", "tokens:acme:staff:u1", 60)
    replicas = [start(), start()]
    headers = {"Authorization": f"Bearer {token()}"}

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=50)) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        f"{replicas[number % 2].origin}/acme/v1/chat/completions",
                        json=body(model="words-n8-i20", max_tokens=8),
                        headers=headers,
                    )
                    for number in range(40)
                )
            )

    answers = asyncio.run(ask_all())

    spent = sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
    left = int(redis.command("GET", "tokens:acme:staff:u1"))
    overrun = max(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert left == 60 - spent
    assert left > -overrun


def test_every_answer_leaves_the_literal_log_line(gateway: GatewayProcess) -> None:
    answer = ask(gateway)

    run_id = answer.headers["x-completion-id"]
    lines = gateway.wait_for_log("Request served").splitlines()
    assert any(line.endswith(f"[INFO] Processing chat completion for acme:{run_id}") for line in lines)


def test_the_json_log_has_one_object_a_line(start: Start) -> None:
    gateway = start(SLUICE_LOG_FORMAT="json")
    answer = ask(gateway)

    records = [json.loads(line) for line in gateway.wait_for_log("Request served").splitlines()]

    served = next(record for record in records if record["message"] == "Request served" and record.get("tenant"))
    assert served["request_id"] == answer.headers["x-request-id"]
    assert served["status_code"] == 200
    assert served["charged_tokens"] == answer.json()["usage"]["total_tokens"]


def test_a_tenants_own_provider_at_an_address_inside_is_not_asked_though_its_document_was_written_by_hand(
    start: Start, redis: RedisServer, provider: ProviderProcess
) -> None:
    set_up_tenant(redis, providers={"house": {"base_url": provider.base_url}}, default="house", api_keys={})

    answer = ask(start(SLUICE_TENANT_PROVIDERS="1"))

    assert (answer.status_code, answer.headers["x-error-code"]) == (503, "tenant_misconfigured")
    assert provider.requests() == []
