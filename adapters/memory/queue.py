"""The order in which queued runs of one shard are executed: tenants take turns."""

from domain.tenants import TenantId


class FairQueue:
    """Runs that wait, each with a turn: a tenant's next run comes one turn after its last, and not before now's.

    A tenant with a thousand runs thus has its second one behind the first of everybody else who waits.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._last: dict[TenantId, int] = {}
        self._now = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._waiting

    @property
    def turn(self) -> int | None:
        """The turn of the first; None where nobody waits."""
        return min(self._waiting.values(), default=None)

    @property
    def next(self) -> str | None:
        """The run whose turn it is; of several, the oldest. None where nobody waits."""
        return min(self._waiting, key=lambda it: (self._waiting[it], it), default=None)

    def join(self, run_id: str, tenant: TenantId) -> None:
        turn = max(self._now, self._last.get(tenant, 0)) + 1
        self._last[tenant] = turn
        self._waiting[run_id] = turn

    def rejoin(self, run_id: str) -> None:
        """Let a run that has waited before be among the next."""
        self._waiting[run_id] = self._now

    def leave(self, run_id: str) -> None:
        self._waiting.pop(run_id, None)
        self._forget_if_empty()

    def first(self) -> str | None:
        """Take the run whose turn it is; of several, the oldest."""
        run_id = self.next
        if run_id is None:
            return None
        self._now = self._waiting.pop(run_id)
        self._forget_if_empty()
        return run_id

    def _forget_if_empty(self) -> None:
        if not self._waiting:
            self._last.clear()
