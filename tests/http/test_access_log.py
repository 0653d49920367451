"""What is logged of a request: one line that says it is being processed, and one that says how it was served."""

import re
from typing import Any

import pytest

from tests.http.log import Log
from tests.http.member import Member
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface

FIELDS = {
    "time", "level", "message", "request_id", "tenant", "provider", "model", "route", "method", "status_code",
    "duration_ms", "prompt_tokens", "completion_tokens", "charged_tokens", "run_id", "error_code", "trace_id",
}  # fmt: skip
ROUTES = {"group": "/v1/chat/completions", "tenant": "/{scope}/v1/chat/completions"}


def access(log: Log) -> dict[str, Any]:
    """The one access line there is."""
    lines: list[dict[str, Any]] = log.of("Request served")
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_whole_answer_is_one_line_with_all_that_is_known(
    member: Member, json_log: Log, surface: Surface
) -> None:
    answer = await member.whole(surface)

    line = access(json_log)
    assert line.keys() == FIELDS
    assert line["duration_ms"] > 0
    known = {key: line[key] for key in FIELDS - {"time", "duration_ms"}}
    assert known == {
        "level": "INFO",
        "message": "Request served",
        "request_id": answer.headers["x-request-id"],
        "tenant": member.tenant,
        "provider": "scripted",
        "model": "echo",
        "route": ROUTES.get(surface.name, "/{scope}/v1/chat/completions"),
        "method": "POST",
        "status_code": 200,
        "prompt_tokens": 4,
        "completion_tokens": 4,
        "charged_tokens": 8,
        "run_id": answer.headers["x-completion-id"],
        "error_code": None,
        "trace_id": None,
    }


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_is_one_line_once_it_has_ended(member: Member, json_log: Log, surface: Surface) -> None:
    stream = await member.stream(surface)

    line = access(json_log)
    assert (line["status_code"], line["run_id"]) == (200, stream.run_id)
    assert (line["prompt_tokens"], line["completion_tokens"], line["charged_tokens"]) == (4, 4, 8)


async def test_a_stream_that_broke_off_has_its_error_in_the_line(member: Member, json_log: Log) -> None:
    await member.stream(TENANT, model="cut-mid-n2")

    line = access(json_log)
    assert (line["status_code"], line["error_code"]) == (200, "upstream_truncated")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"messages": []}, 422, "empty_array"),
        ({"model": "status-500"}, 502, "provider_error"),
        ({"model": "error-context"}, 400, "context_length_exceeded"),
    ],
)
async def test_a_refused_request_is_one_line_with_its_code(
    member: Member, json_log: Log, fields: dict[str, Any], status: int, code: str
) -> None:
    await member.post(PROVIDER, **fields)

    line = access(json_log)
    assert (line["status_code"], line["error_code"]) == (status, code)
    assert (line["tenant"], line["provider"]) == (member.tenant, "scripted")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/openai/gpt-4o", "/v1/models/{name}"),
        ("/v1/chat/completions/job-1", "/v1/chat/completions/{run_id}"),
        ("/{tenant}/v1/models/echo", "/{scope}/v1/models/{name}"),
        ("/nothing/there", "(none)"),
        ("/healthz", "/healthz"),
    ],
)
async def test_the_route_is_the_pattern_and_never_the_path(
    member: Member, json_log: Log, path: str, route: str
) -> None:
    await member.replica.client.get(path.format(tenant=member.tenant), headers=member.headers(GROUP))

    assert access(json_log)["route"] == route


async def test_in_text_a_line_says_the_same(member: Member, text_log: Log) -> None:
    answer = await member.post(TENANT, headers={"X-Request-Id": "req-1"})

    run_id = answer.headers["x-completion-id"]
    line = next(line for line in text_log.lines if "Request served" in line)
    assert re.fullmatch(
        rf"\[INFO\] Request served request_id=req-1 tenant={member.tenant} provider=scripted model=echo "
        rf"route=/\{{scope\}}/v1/chat/completions method=POST status_code=200 duration_ms=[0-9.]+ prompt_tokens=4 "
        rf"completion_tokens=4 charged_tokens=8 run_id={run_id}",
        line,
    )


# --- the line that was asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_completion_that_is_asked_for_is_announced_once(
    member: Member, text_log: Log, surface: Surface
) -> None:
    answer = await member.whole(surface)

    line = f"[INFO] Processing chat completion for {member.tenant}:{answer.headers['x-completion-id']}"
    assert [announced for announced in text_log.lines if "Processing" in announced] == [line]


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_one_that_is_refused_for_its_body_or_balance_is_announced_too(
    member: Member, text_log: Log, surface: Surface
) -> None:
    member.replica.set_balance(member.tenant, 0)

    await member.send(surface, b"{not json" if surface is not GROUP else b"{}")
    await member.post(surface)

    announced = [line for line in text_log.lines if "Processing" in line]
    assert len(announced) == 2
    assert all(line.startswith(f"[INFO] Processing chat completion for {member.tenant}:") for line in announced)


async def test_in_json_tenant_and_run_are_fields_too(member: Member, json_log: Log) -> None:
    answer = await member.post(TENANT)

    run_id = answer.headers["x-completion-id"]
    line = json_log.of(f"Processing chat completion for {member.tenant}:{run_id}")[0]
    assert (line["level"], line["tenant"], line["run_id"]) == ("INFO", member.tenant, run_id)


async def test_who_is_nobody_is_not_announced(member: Member, text_log: Log) -> None:
    await member.replica.client.post(TENANT.path(member.tenant), json={})
    await member.replica.client.post("/v1/chat/completions", json={})

    assert "Processing" not in text_log.text
