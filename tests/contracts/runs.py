"""Runs for the contract suites, and the stores that keep them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from adapters.memory.doorbell import MemoryDoorbell
from adapters.memory.runs import MemoryRunStore
from adapters.redis.connection import RedisConnection
from adapters.redis.runs import RedisRunStore
from domain.chat import ChatRequest, Completion, JsonObject, Usage
from domain.ports import Clock, RunStore
from domain.runs import ULID_ENTROPY, Claim, Ending, Run, RunError, Status, Work, conversation_shard, ulid, with_shard
from domain.tokens import TokenPolicy

#: The times that stores keep in tests, in seconds.
LEASE, QUEUE = 10.0, 600.0

_NUMBERS = count(1)


def store_on(
    connection: RedisConnection | None, clock: Clock, bell: MemoryDoorbell | None = None, **times: float
) -> RunStore:
    times = {"lease": LEASE, "queue": QUEUE} | times
    if connection is None:
        return MemoryRunStore(clock, bell, **times)
    return RedisRunStore(connection, clock=clock, **times)


def new_run(
    status: Status = Status.IN_PROGRESS,
    *,
    conversation: str | None = None,
    user: str = "alice",
    tenant: str = "acme",
    shard: int | None = None,
    **more: Any,
) -> Run:
    """A run as it is begun: in progress, it is its first attempt; queued, it waits for that."""
    number = next(_NUMBERS)
    # The last character is the shard's.
    run_id = f"chatcmpl-{ulid(1_800_000_000.0, (number << 5 | number % 16).to_bytes(ULID_ENTROPY, 'big'))}"
    if conversation is not None:
        shard = conversation_shard(tenant, user, conversation)
    begun = 0 if status is Status.QUEUED else 1
    plain = Run(
        id=run_id if shard is None else with_shard(run_id, shard),
        tenant=tenant,
        group="staff",
        user=user,
        answer_id=conversation or run_id,
        provider="openai",
        model="gpt-4o-é",
        created=1_800_000_000,
        extras=False,
        conversation=conversation,
        status=status,
        attempt=begun,
        fence=begun,
        queued=status is Status.QUEUED,
    )
    return replace(plain, **more)


def queued_run(shard: int = 3, **more: Any) -> Run:
    return new_run(Status.QUEUED, shard=shard, **more)


_MESSAGES: list[JsonObject] = [
    {"role": "user", "content": "Grüß Gott \u2028"},
    {"role": "assistant", "content": None, "tool_calls": []},
]
WORK = Work(
    ChatRequest(
        _MESSAGES,
        {"messages": _MESSAGES, "temperature": 0.1, "metadata": {"a": [1, None, True]}, "seed": 2**53},
        "gpt-4o",
        stream=True,
        include_usage=True,
        choices=2,
        completion_bound=50,
        conversation="conv-1",
        cache_key="k",
    ),
    request_id="req-1",
    prompt_tokens=7,
    held=57,
    estimate=60,
    completion_bound=None,
    policy=TokenPolicy.STRICT,
    vocabulary="o200k_base",
)


def entries(first: int, last: int) -> list[bytes]:
    """The entries of these numbers, both included."""
    return [f'{{"n":{number}}}'.encode() for number in range(first, last + 1)]


COMPLETION = Completion(
    {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Grüß Gott \u2028"}, "finish_reason": "stop"}
        ]
    },
    Usage(7, 3, {"completion_tokens_details": {"reasoning_tokens": 1}}),
    "gpt-4o-2024-08-06",
)
COMPLETED = Ending(Status.COMPLETED, COMPLETION, COMPLETION.usage, charged=10)
FAILED = Ending(Status.FAILED, error=RunError("PROVIDER_FAILED", "upstream_truncated", "Cut off.", None, 1.5))
CANCELLED = Ending(Status.CANCELLED, charged=3)
ENDINGS = (COMPLETED, FAILED, CANCELLED)


def granted(claims: Sequence[Claim | None]) -> Claim:
    """The one claim that was granted."""
    (claim,) = (claim for claim in claims if claim is not None)
    return claim


async def taken(store: RunStore, shard: int = 3) -> Claim:
    """The claim of a run that waits there."""
    claim = await store.take(shard)
    assert claim is not None
    return claim
