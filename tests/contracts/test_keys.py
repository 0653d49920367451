"""Keys: named as operators know them, one slot for each script, and no id that could make one look like another."""

from collections.abc import Callable
from dataclasses import astuple

import pytest
from redis.crc import key_slot

from adapters.redis import keys
from adapters.redis.keys import AccountKeys, RunKeys, ShardKeys
from domain.ledger import Account
from domain.runs import Run, conversation_shard, shard_of, with_shard

RUN = "chatcmpl-01KCZ6V8XWQ3T5R7Y9ABCDEFGH"


def test_keys_have_the_names_that_operators_know() -> None:
    account = AccountKeys.of(Account("acme", "staff", "u@1"))
    run = RunKeys.of(RUN)

    named = [
        keys.tenant("acme"),
        account.balance,
        account.holds,
        account.history,
        account.closed("job-1"),
        account.operation("op-1"),
        keys.api_key("d" * 64),
        keys.api_keys("acme"),
        keys.meter("acme", "rpm"),
        keys.meter("acme", "user:staff:u@1:rpm"),
    ]

    assert named == [
        "tenant:acme",
        "tokens:acme:staff:u@1",
        "{tokens:acme:staff:u@1}:holds",
        "{tokens:acme:staff:u@1}:ledger",
        "{tokens:acme:staff:u@1}:closed:job-1",
        "{tokens:acme:staff:u@1}:operation:op-1",
        f"apikey:{'d' * 64}",
        "apikeys:acme",
        "ratelimit:{acme}:rpm",
        "ratelimit:{acme}:user:staff:u@1:rpm",
    ]
    assert astuple(run) == tuple(
        f"{{run:01}}:{kind}:{RUN}" for kind in ("record", "request", "log", "result", "attended")
    )
    assert astuple(ShardKeys.of(1)) == ("{run:01}:ready", "{run:01}:turns", "{run:01}:leases")
    assert keys.name("e" * 64) == f"{{run:14}}:name:{'e' * 64}"


def test_what_one_script_touches_is_in_one_slot() -> None:
    account = AccountKeys.of(Account("acme", "staff", "alice"))
    pointed = run_in("conv-1")
    run = RunKeys.of(pointed.id)

    touched: list[list[str | None]] = [
        [account.balance, account.holds, account.history, account.closed("job-1"), account.operation("op-1")],
        [
            keys.meter("acme", name)
            for name in ("rpm", "tpm", "runs", "group:staff:rpm", "user:staff:u@1:rpm", "day:tpm")
        ],
        [*astuple(run), *astuple(ShardKeys.of(shard_of(pointed.id))), keys.conversation_of(pointed)],
    ]

    assert [len({key_slot((key or "").encode()) for key in together}) for together in touched] == [1, 1, 1]


def test_runs_spread_over_sixteen_slots() -> None:
    slots = {key_slot(RunKeys.of(with_shard(RUN, shard)).record.encode()) for shard in range(16)}

    assert len(slots) == 16


@pytest.mark.parametrize("text", ["", "a:b", "{a}", "a}", "a b", "a\n", "é", "*", "x" * 129, "a/b", "\0"])
def test_what_is_no_id_enters_no_key(text: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: keys.tenant(text),
        lambda: keys.meter(text, "rpm"),
        lambda: keys.meter("acme", f"group:{text}:rpm".replace("a:b", "a::b")),
        lambda: AccountKeys.of(Account(text, "staff", "alice")),
        lambda: AccountKeys.of(Account("acme", text, "alice")),
        lambda: AccountKeys.of(Account("acme", "staff", text)),
        lambda: AccountKeys.of(Account("acme", "staff", "alice")).closed(text),
        lambda: AccountKeys.of(Account("acme", "staff", "alice")).operation(text),
        lambda: keys.balances(text),
        lambda: keys.api_keys(text),
        lambda: keys.api_key(text),
        lambda: keys.conversation(text, "alice", "conv-1"),
        lambda: keys.conversation("acme", text, "conv-1"),
        lambda: keys.conversation("acme", "alice", text),
        lambda: RunKeys.of(text),
        lambda: keys.name(text),
    ]

    for make in makers:
        with pytest.raises(ValueError):
            make()


def run_in(conversation: str) -> Run:
    run_id = with_shard(RUN, conversation_shard("acme", "alice", conversation))
    return Run(run_id, "acme", "staff", "alice", conversation, "openai", "gpt-4o", 0, conversation=conversation)
