"""What the tests of ledgers share: two accounts, and the ways to hold and to meddle with them."""

from collections.abc import Awaitable, Callable, Sequence

from domain.errors import InsufficientTokens
from domain.ledger import Account, Hold
from domain.ports import Ledger
from tests.contracts.ledger_model import ALICE, Line, line_of

BOB = Account("acme", "staff", "bob")

#: Sets a balance by hand; None deletes it.
SetBalance = Callable[[Account, int | None], Awaitable[None]]


async def hold(
    ledger: Ledger,
    hold_id: str,
    wanted: int,
    *,
    account: Account = ALICE,
    least: int = 1,
    initial: int = 0,
    seconds: float = 60.0,
    lasting: bool = True,
) -> Hold:
    return await ledger.hold(
        account, hold_id, wanted=wanted, least=least, initial=initial, seconds=seconds, lasting=lasting
    )


async def attempt(holding: Awaitable[Hold]) -> int:
    """The amount of a hold; 0 where it was refused."""
    try:
        return (await holding).amount
    except InsufficientTokens:
        return 0


async def lines(ledger: Ledger, account: Account = ALICE) -> Sequence[Line]:
    """The history, the earliest first."""
    return [line_of(entry) for entry in reversed(await ledger.history(account, limit=1000))]
