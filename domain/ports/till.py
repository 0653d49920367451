"""Where a run is paid for: what begins and what ends it, across limits, balance and record."""

from collections.abc import Sequence
from typing import Protocol

from domain.ledger import Deposit, Hold, Settlement
from domain.rate import Charge, Slot, Verdict
from domain.runs import Answered, Appended, Ending
from domain.tenants import TenantId


class Till(Protocol):
    """Verbs of limiter, ledger and run store that belong together: in one round trip, and at one moment, where one
    server has all that they touch.
    """

    async def admit(
        self, tenant: TenantId, charges: Sequence[Charge], slots: Sequence[Slot], deposit: Deposit
    ) -> tuple[Verdict, Hold]:
        """``RateLimiter.take``, and where that has room, ``Ledger.hold``: both, or nothing is taken.

        A hold whose reply was lost is asked for again for a moment.

        Raises:
            RateLimited, DailyTokensSpent: the limits have no room.
            InsufficientTokens: the limits have room and the balance has not.
            StoreUnavailable: a store did not answer; what was asked for may or may not be taken.
        """
        ...

    async def conclude(
        self,
        settlement: Settlement,
        fence: int,
        base: int,
        entries: Sequence[bytes],
        ending: Ending,
        by: Answered | None = None,
    ) -> tuple[Appended, int]:
        """``Ledger.settle``, and ``RunStore.append`` with an ending that tells what was charged; and what that was.

        The hold has the id of its run, and a cost. A run that is another's is charged nothing where that can be told
        in time, and has ended otherwise; what was charged is then 0.

        Raises:
            StoreUnavailable: a store did not answer; either may or may not have happened, and is safe to call again.
        """
        ...
