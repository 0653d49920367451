"""What Redis costs: a call by redis-py and by our connection, and each script of a request.

    python -m benchmarks.redis_calls redis://127.0.0.1:6379

The server is to be one that nobody else uses and nobody needs: it is emptied. Of each figure the least of many short
batches is told, which a busy machine disturbs the least.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from hashlib import sha1
from typing import TypeAlias

import uvloop
from redis.asyncio import Redis

from adapters.redis.connection import RedisConnection
from adapters.redis.ledger import RedisLedger
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.scripts import Script
from adapters.redis.till import RedisTill
from domain.chat import ChatRequest, Completion, Usage
from domain.ledger import Account, Deposit, Settlement
from domain.rate import Allowance, Charge
from domain.runs import Ending, Run, Status, Work, ulid
from domain.tokens import TokenPolicy

_IN_FLIGHT = (1, 8, 32, 128)
_BATCHES, _CALLS = 20, 1_000
#: Short enough that no other process comes between.
_RUN_BATCHES, _RUNS = 300, 10
_COUNT = """
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if n == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return n
"""
_SCRIPT = Script("benchmark", _COUNT, sha1(_COUNT.encode(), usedforsecurity=False).hexdigest())
_ACCOUNT = Account("bench", "staff", "ada")
_CHARGES = (
    Charge("rpm", "requests", Allowance(10**9), 1),
    Charge("tpm", "tokens", Allowance(10**9), 50),
)
_WORK = Work(ChatRequest([], {"messages": []}), "req", 50, 100, 50, None, TokenPolicy.PREPAID, "o200k_base")
_ANSWER = Completion({"choices": [{"message": {"role": "assistant", "content": "w " * 100}}]}, Usage(50, 100))
_ENDING = Ending(Status.COMPLETED, _ANSWER, _ANSWER.usage)

Call: TypeAlias = Callable[[int], Awaitable[object]]


async def measure(url: str) -> None:
    connection = RedisConnection(url, timeout=2.0, deadline=5.0)
    async with Redis.from_url(url, max_connections=256) as client:
        await client.flushall()
        known = client.register_script(_COUNT)
        calls: Mapping[str, Call] = {
            "redis-py": lambda number: known(keys=[f"k{number}"], args=[1, 60]),
            "own connection": lambda number: connection.run(_SCRIPT, [f"k{number}"], [1, 60]),
        }
        for in_flight in _IN_FLIGHT:
            for name, call in calls.items():
                micros = min([await _client_micros(call, in_flight) for _ in range(_BATCHES)])
                print(f"{name}, {in_flight} in flight: {micros:.1f} microseconds of CPU a call")
        await _measure_scripts(connection, client)
    await connection.aclose()


async def _client_micros(call: Call, in_flight: int) -> float:
    each = _CALLS // in_flight

    async def keep_asking(number: int) -> None:
        for _ in range(each):
            await call(number)

    began = time.process_time()
    await asyncio.gather(*(keep_asking(number) for number in range(in_flight)))
    return (time.process_time() - began) / (in_flight * each) * 1e6


async def _measure_scripts(connection: RedisConnection, client: "Redis") -> None:
    limiter, ledger, store = RedisRateLimiter(connection), RedisLedger(connection), RedisRunStore(connection)
    till = RedisTill(connection, limiter, ledger, store)
    await ledger.grant(_ACCOUNT, "plenty", 10**12)
    least: dict[str, float] = {}
    for batch in range(_RUN_BATCHES):
        runs = [_run(batch * _RUNS + number) for number in range(_RUNS)]
        for name, step in _steps(till, limiter, store, runs).items():
            before = await _server_micros(client)
            await asyncio.gather(*(step(number) for number in range(_RUNS)))
            micros = (await _server_micros(client) - before) / _RUNS
            least[name] = min(least.get(name, micros), micros)
    for name, micros in least.items():
        print(f"{name}: {micros:.1f} microseconds of the server")


def _steps(till: RedisTill, limiter: RedisRateLimiter, store: RedisRunStore, runs: list[Run]) -> Mapping[str, Call]:
    """The scripts of a request, in their order, each for the run of a number."""
    back = replace(_CHARGES[1], cost=-5)
    return {
        "till/admit": lambda number: till.admit("bench", _CHARGES, (), _deposit(runs[number])),
        "runs/begin": lambda number: store.begin(runs[number], _WORK),
        "runs/append": lambda number: store.append(runs[number].id, 1, 0, [b'{"n":1}']),
        "till/conclude": lambda number: till.conclude(_settlement(runs[number]), 1, 1, [], _ENDING),
        "rate/correct": lambda _: limiter.correct("bench", [back], time.time()),
    }


def _deposit(run: Run) -> Deposit:
    return Deposit(_ACCOUNT, run.id, 100, 1, 0, 60.0, lasting=True)


def _settlement(run: Run) -> Settlement:
    return Settlement(_ACCOUNT, run.id, 70)


async def _server_micros(client: "Redis") -> float:
    told = await client.info("commandstats")
    # Where a script is not known yet, EVAL does what EVALSHA could not.
    return sum(float(told.get(f"cmdstat_{name}", {"usec": 0})["usec"]) for name in ("eval", "evalsha"))


def _run(number: int) -> Run:
    run_id = f"chatcmpl-{ulid(time.time(), number.to_bytes(10, 'big'))}"
    return Run(run_id, "bench", "staff", "ada", run_id, "upstream", "stub", int(time.time()))


if __name__ == "__main__":
    uvloop.run(measure(sys.argv[1]))
