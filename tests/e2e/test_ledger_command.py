"""``sluice ledger`` as an operator runs it: a process, its words, its exit status."""

import pytest

from tests.e2e.accounts import ledger
from tests.e2e.conftest import TENANT, USER
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

BALANCE = f"tokens:{TENANT}:staff:{USER}"
WHOSE = (TENANT, "staff", USER)


def planted_entry(kind: str, operation: str, amount: str, balance: str) -> tuple[str, ...]:
    """The command that adds an entry to the history."""
    words = ("XADD", f"{{{BALANCE}}}:ledger", "*", "kind", kind, "operation", operation, "amount", amount)
    return (*words, "balance", balance, "held", "0")


def test_an_audit_of_what_adds_up_is_clean(redis: RedisServer) -> None:
    ledger(redis.url, "grant", *WHOSE, "5")

    audit = ledger(redis.url, "audit")

    assert (audit.returncode, audit.stdout, audit.stderr) == (0, "1 accounts, 0 findings\n", "")


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (("HINCRBY", f"{{{BALANCE}}}:holds", ":held", "7"), "7 are held, but the open holds are of 0."),
        (("HSET", f"{{{BALANCE}}}:holds", "run-1", "9:99999999999999:0"), "0 are held, but the open holds are of 9."),
        (
            planted_entry("settle", "run-1", "3", "1000005"),
            "leaves a balance of 1000005, not of 1000002.",
        ),
        (
            planted_entry("grant", "first", "5", "1000010"),
            "carries out first again.",
        ),
        (("SET", BALANCE, "1e6"), "The balance cannot be read: it is no integer."),
    ],
)
def test_an_audit_finds_a_planted_difference(redis: RedisServer, planted: tuple[str, ...], said: str) -> None:
    ledger(redis.url, "grant", *WHOSE, "5", "--operation", "first")
    redis.command(*planted)

    audit = ledger(redis.url, "audit", "--tenant", TENANT)

    assert audit.returncode == 1
    assert said in audit.stdout
    assert audit.stdout.startswith(f"{TENANT}:staff:{USER}: ")


def test_a_balance_set_by_hand_is_an_adjustment_and_no_finding(redis: RedisServer) -> None:
    ledger(redis.url, "grant", *WHOSE, "5")
    redis.command("SET", BALANCE, 40)

    audit = ledger(redis.url, "audit")
    history = ledger(redis.url, "history", *WHOSE)

    newest = history.stdout.splitlines()[0].split()
    assert audit.returncode == 0
    assert newest[1:3] == ["adjust", str(40 - 1_000_005)]
    assert newest[-1].startswith("set:")


def test_another_tenants_difference_is_not_found(redis: RedisServer) -> None:
    redis.command("SET", BALANCE, "abc")
    redis.command("SET", "tokens:other:staff:u1", 5)

    audit = ledger(redis.url, "audit", "--tenant", "other")

    assert (audit.returncode, audit.stdout) == (0, "1 accounts, 0 findings\n")


def test_a_history_has_the_newest_first_and_no_more_than_asked_for(redis: RedisServer) -> None:
    for number in ("1", "2", "3"):
        ledger(redis.url, "grant", *WHOSE, number, "--operation", f"op-{number}")

    history = ledger(redis.url, "history", *WHOSE, "--limit", "2")

    rows = [line.split() for line in history.stdout.splitlines()]
    assert [(row[1], row[2], row[4], row[6], row[7]) for row in rows] == [
        ("grant", "3", "1000006", "0", "op-3"),
        ("grant", "2", "1000003", "0", "op-2"),
    ]


def test_a_grant_repeated_with_its_operation_adds_nothing(redis: RedisServer) -> None:
    first, again = (ledger(redis.url, "grant", *WHOSE, "5", "--operation", "op-1") for _ in range(2))
    other = ledger(redis.url, "grant", *WHOSE, "6", "--operation", "op-1")
    anew = ledger(redis.url, "grant", *WHOSE, "5")

    assert first.stdout == again.stdout == f"{TENANT}:staff:{USER}: 1000005 tokens available\n"
    assert (first.returncode, again.returncode) == (0, 0)
    assert other.returncode != 0
    assert anew.stdout == f"{TENANT}:staff:{USER}: 1000010 tokens available\n"


def test_an_adjustment_repeated_with_its_operation_changes_nothing(redis: RedisServer) -> None:
    ledger(redis.url, "adjust", *WHOSE, "50", "--operation", "op-1")
    ledger(redis.url, "grant", *WHOSE, "5")

    again = ledger(redis.url, "adjust", *WHOSE, "50", "--operation", "op-1")
    debt = ledger(redis.url, "adjust", *WHOSE, "-20")

    assert again.stdout == f"{TENANT}:staff:{USER}: 55 tokens available\n"
    assert debt.stdout == f"{TENANT}:staff:{USER}: -20 tokens available\n"
    assert int(redis.command("GET", BALANCE)) == -20


@pytest.mark.parametrize(
    "amount", ["-1", "0", "1.5", "1e3", "9007199254740992", "1_000", "", " 5", "\u0665", "0x10", "nan"]
)
def test_an_amount_that_is_no_whole_number_of_tokens_is_refused(redis: RedisServer, amount: str) -> None:
    refused = ledger(redis.url, "grant", *WHOSE, amount)

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert int(redis.command("GET", BALANCE)) == 1_000_000
    assert redis.command("EXISTS", f"{{{BALANCE}}}:ledger") == 0


@pytest.mark.parametrize("balance", ["1.5", "-9007199254740992", "1_000", "--5", "-", "five"])
def test_a_balance_that_is_no_whole_number_of_tokens_is_refused(redis: RedisServer, balance: str) -> None:
    refused = ledger(redis.url, "adjust", *WHOSE, "--", balance)

    assert refused.returncode == 2
    assert int(redis.command("GET", BALANCE)) == 1_000_000


@pytest.mark.parametrize(
    "words",
    [
        ("grant", "a:b", "staff", "u1", "5"),
        ("grant", TENANT, "{staff}", "u1", "5"),
        ("grant", TENANT, "staff", "*", "5"),
        ("grant", *WHOSE, "5", "--operation", "a b"),
        ("grant", *WHOSE),
        ("history", *WHOSE, "--limit", "0"),
        ("audit", "--tenant", "*"),
        (),
        ("forget",),
    ],
)
def test_other_bad_arguments_are_refused(redis: RedisServer, words: tuple[str, ...]) -> None:
    assert ledger(redis.url, *words).returncode == 2


def test_a_redis_that_is_not_there_is_told_and_is_worth_another_try() -> None:
    answer = ledger("redis://127.0.0.1:1", "audit")

    assert answer.returncode == 75
    assert "Traceback" not in answer.stderr
    assert answer.stderr.strip()


def test_without_a_redis_there_is_nothing_to_look_at() -> None:
    answer = ledger("", "audit")

    assert answer.returncode == 78
    assert "SLUICE_REDIS_URL" in answer.stderr
