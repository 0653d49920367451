"""The worked examples of tokens.md work, and its numbers are the code's."""

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.tokenizer.tokenizer import TiktokenTokenizer
from domain import tokens
from domain.chat import ChatRequest
from domain.errors import InsufficientTokens
from domain.images import TYPICAL_SIZE
from domain.ledger import Account
from domain.tokens import TokenPolicy
from tests.builders import a_request, user
from tests.docs.pages import Row, only_code, page

TOKENS = page("docs/tokens.md")
EXAMPLES = TOKENS.section("Policies").rows("policy", "balance", "held")
ADA = Account("acme", "staff", "ada")


def test_both_policies_have_examples() -> None:
    assert {only_code(row["policy"]) for row in EXAMPLES} == {policy.value for policy in TokenPolicy}


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row['policy']} {row['balance']} {row['other holds']}")
async def test_a_worked_example_works(row: Row) -> None:
    policy, prompt = TokenPolicy(only_code(row["policy"])), int(row["prompt"])
    request = a_request(completion_bound=int(row["asked for"]))
    ledger = await ledger_with(int(row["balance"]), held=int(row["other holds"]))

    held, sent = await admit(ledger, policy, prompt, request)
    charged = await settle(ledger, policy, held, int(row["used"])) if held is not None else None

    assert row["held"] == ("refused" if held is None else str(held))
    assert row["bound sent"] == ("" if held is None else "as asked" if sent is None else str(sent))
    assert row["charged"] == ("" if charged is None else str(charged))
    assert await ledger.available(ADA) + int(row["other holds"]) == int(row["balance after"])


async def ledger_with(balance: int, *, held: int) -> MemoryLedger:
    ledger = MemoryLedger(lambda: 0.0)
    ledger.overwrite(ADA, balance)
    if held:
        await ledger.hold(ADA, "other", wanted=held, least=1, initial=0, seconds=60, lasting=True)
    return ledger


async def admit(
    ledger: MemoryLedger, policy: TokenPolicy, prompt: int, request: ChatRequest
) -> tuple[int | None, int | None]:
    """What was held, None where it was refused, and the bound that is sent, None where it is the request's."""
    bound = tokens.completion_bound(request, window=None, max_output_tokens=None, prompt_tokens=prompt)
    asked = tokens.reservation(policy, prompt, bound)
    try:
        hold = await ledger.hold(
            ADA, "run", wanted=asked.wanted, least=asked.least, initial=0, seconds=60, lasting=True
        )
    except InsufficientTokens:
        return None, None
    return hold.amount, tokens.clamped_bound(policy, held=hold.amount, prompt_tokens=prompt, request=request)


async def settle(ledger: MemoryLedger, policy: TokenPolicy, held: int, used: int) -> int:
    # The line of the policy in domain.completions.settling.cost_of.
    cost = min(used, held) if policy is TokenPolicy.STRICT else used
    await ledger.settle(ADA, "run", cost)
    return cost


async def test_the_example_of_a_count_is_counted() -> None:
    measure = tokens.measure(a_request(user("Hello, who are you?")), None)

    counted = measure.overhead + await TiktokenTokenizer().count("o200k_base", measure.texts)

    assert f"`Hello, who are you?` from a user alone is {counted} tokens" in TOKENS.text


def test_the_numbers_are_the_codes() -> None:
    text = " ".join(TOKENS.text.split())

    assert f"names a bound, it is {tokens.UNBOUNDED_COMPLETION}" in text
    assert f"or {tokens.TYPICAL_COMPLETION} for each choice" in text
    assert f"reckoned as {TYPICAL_SIZE[0]} by {TYPICAL_SIZE[1]} pixels" in text
