"""No prompt, no answer, no key and no token is ever logged, at any level, in either form; nor told to anybody else."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.http.asks import ASKS
from tests.http.bad_bodies import UNREADABLE
from tests.http.log import Log, logged
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, SURFACES, TENANT, Surface
from tests.http.test_provider_failures import TELLS
from tests.http.wire import asking
from tests.provider.process import ProviderProcess

#: What must be seen nowhere. The answer's is what the scripted provider makes of the prompt's.
PROMPT = "canary-of-the-prompt"
KEY = "sk-canary-of-the-key"
FIELD = "canary-of-a-field"
GROUP_ID = "canary-of-a-group"
CANARIES = ("canary", "Bearer ", "eyJ")

SAYING = [
    {"role": "system", "content": f"system {PROMPT}"},
    {"role": "user", "content": f"say {PROMPT}", "name": "canary-of-a-name"},
]
#: Failures in mid-answer.
BROKEN = ("cut-mid-n2", "reset-mid-n2", "end-mid-n2", "error-event-n2", "bad-event-n2", "stall-n2")


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    with logged(request.param) as started:
        yield started


@pytest.fixture(scope="module")
async def hasty(process: ProviderProcess) -> AsyncIterator[Replica]:
    async with running(process, first_byte_seconds=0.1, idle_seconds=0.1, total_seconds=0.2) as started:
        yield started


async def a_member(replica: Replica) -> Member:
    return Member(replica, await replica.add_tenant(api_keys={"scripted": [KEY, f"{KEY}-2"], "openai": KEY}))


@pytest.fixture
async def member(replica: Replica) -> Member:
    return await a_member(replica)


@pytest.fixture
async def hasty_member(hasty: Replica) -> Member:
    return await a_member(hasty)


async def ask(member: Member, surface: Surface, **fields: Any) -> httpx.Response:
    """Ask with canaries in everything that is private."""
    given: dict[str, Any] = {"messages": SAYING, "user": FIELD, "metadata": {"key": FIELD}, **fields}
    return await member.post(surface, headers={"Prefer": "wait=10"}, **given)


def all_of(answer: httpx.Response) -> str:
    return f"{answer.headers} {answer.text}"


def require_silence(log: Log) -> None:
    """Fail unless the log has something to say and nothing of what is private."""
    assert "Request served" in log.text
    for canary in CANARIES:
        assert canary not in log.text


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_answers_of_every_kind_leave_no_trace_of_what_was_said(
    member: Member, log: Log, surface: Surface
) -> None:
    for fields in ASKS.values():
        for stream in (False, True):
            answer = await ask(member, surface, stream=stream, **fields)
            assert answer.status_code == 200

    require_silence(log)


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_failures_of_every_kind_leave_no_trace_of_what_was_said(
    hasty_member: Member, log: Log, surface: Surface
) -> None:
    for model in (*TELLS, *BROKEN):
        for stream in (False, True):
            answer = await ask(hasty_member, surface, model=model, stream=stream)
            assert not any(canary in all_of(answer) for canary in CANARIES)

    require_silence(log)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_bodies_that_are_refused_leave_no_trace(member: Member, log: Log, surface: Surface) -> None:
    good = {"messages": SAYING, "model": "echo", "group_id": "staff"}
    bodies: list[dict[str, Any]] = [
        {**good, "group_id": GROUP_ID},
        {**good, "temperature": FIELD},
        {**good, "messages": PROMPT},
        {**good, "messages": [{"role": PROMPT, "content": PROMPT}]},
        {**good, "tools": [{"type": "function", "function": {"name": f"{PROMPT} !"}}]},
        {**good, "response_format": {"type": PROMPT}},
        {**good, "stop": [PROMPT] * 5},
        {**good, "model": PROMPT, "provider": "openai"},
        {**good, "provider": PROMPT},
        {**good, "conversation_id": f"{PROMPT} !"},
        {**good, "cache_key": PROMPT * 100},
        {**good, "messages": [{"role": "tool", "tool_call_id": PROMPT, "content": PROMPT}]},
        {**good, PROMPT: 1},
        {PROMPT: PROMPT},
    ]

    for content in [*(json.dumps(body).encode() for body in bodies), *(body for body, _ in UNREADABLE.values())]:
        await member.send(surface, content)
    await member.send(surface, b'{"messages": [{"role": "user", "content": "%s' % PROMPT.encode())

    require_silence(log)


async def test_tokens_and_headers_leave_no_trace(member: Member, log: Log) -> None:
    stolen = {"Authorization": f"Bearer {member.token}x", "Cookie": "session=canary", "X-Forwarded-For": "canary"}
    for surface in SURFACES:
        for headers in (stolen, {**stolen, "Authorization": "Basic canary"}, {**stolen, "X-Request-Id": "a canary"}):
            answer = await member.post(surface, headers=headers)
            assert "canary" not in all_of(answer)
            assert "eyJ" not in all_of(answer)

    require_silence(log)


async def test_paths_and_queries_leave_no_trace(member: Member, log: Log) -> None:
    paths = ("/canary", "/canary/v1/models", "/v1/models/canary", "/v1/chat/completions/canary?stream=canary")

    for path in paths:
        await member.replica.client.get(path, headers=member.headers(GROUP), params={"starting_after": "canary"})

    require_silence(log)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_leaves_leaves_no_trace(
    member: Member, provider: ProviderProcess, log: Log, stream: bool
) -> None:
    async with asking(member, TENANT, model="words-n9-i20", messages=SAYING, stream=stream) as wire:
        await provider.seen_when(lambda seen: len(seen) == 1)
        wire.leave()

    await member.post(TENANT, messages=SAYING)

    require_silence(log)


async def test_a_defect_of_ours_is_logged_without_what_it_met(
    member: Member, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*arguments: object) -> None:
        raise ValueError(f"cannot do anything with {PROMPT}, {KEY} and {arguments}")

    monkeypatch.setattr(member.replica.container.limiter(), "take", break_down)

    answer = await ask(member, TENANT)

    assert not any(canary in all_of(answer) for canary in CANARIES)
    assert "ValueError" in log.text
    require_silence(log)
