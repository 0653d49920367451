"""Runs as operators see them: whose they are and how they stand, never what they say."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from domain.administration.access import Operator
from domain.completions.runs import CompletionRuns
from domain.errors import UnknownCompletion
from domain.facts import Administered
from domain.ports import Journal, RunStore
from domain.runs import SHARDS, Run, Status, as_view, is_run_id, is_terminal
from domain.tenants import GroupId, TenantId, UserId

#: The most unfinished runs of a shard that are looked at for one question.
_LOOKED_AT = 1_000
#: Seconds that a cancel waits for the end of the run.
_CANCEL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs are looked for; None is any."""

    tenant: TenantId | None = None
    group: GroupId | None = None
    user: UserId | None = None
    provider: str | None = None
    status: Status | None = None

    def matches(self, run: Run) -> bool:
        asked = (self.tenant, self.group, self.user, self.provider, self.status)
        found = (run.tenant, run.group, run.user, run.provider, run.status)
        return all(want is None or want == is_ for want, is_ in zip(asked, found, strict=True))


@dataclass(frozen=True, slots=True)
class RunAdministration:
    """Finds runs that have not ended, shows any run, cancels one."""

    runs: CompletionRuns
    store: RunStore
    journal: Journal

    async def unfinished(self, query: RunQuery, limit: int) -> Sequence[Run]:
        """Up to ``limit`` runs that wait or go on, the oldest first."""
        shards = await asyncio.gather(*(self.store.unfinished(shard, _LOOKED_AT) for shard in range(SHARDS)))
        found: list[Run] = []
        # A ULID begins with its time, so that ids without their prefixes are in the order of age.
        for run_id in sorted((run_id for shard in shards for run_id in shard), key=lambda id_: id_.partition("-")[2]):
            run = await self.store.get(run_id)
            if run is not None and not is_terminal(run.status) and query.matches(run):
                found.append(run)
            if len(found) == limit:
                break
        return found

    async def latest(self, tenant: TenantId, user: UserId, conversation: str) -> Run:
        """The latest run of a user's conversation.

        Raises:
            UnknownCompletion: there is none (any more).
        """
        return await self.show(await self.store.latest(tenant, user, conversation) or "")

    async def show(self, run_id: str) -> Run:
        """The run of this id, whoever's it is.

        Raises:
            UnknownCompletion: there is none (any more).
        """
        run = await self.store.get(run_id) if is_run_id(run_id) else None
        if run is None:
            raise UnknownCompletion
        if run.source is None or is_terminal(run.status):
            return run
        source = await self.store.get(run.source)
        return as_view(run, source) if source is not None else run

    async def cancel(self, by: Operator, run_id: str) -> Run:
        """Stop a run, and wait a while for its end; the run as it stands then. One that has ended stays as it is.

        Raises:
            UnknownCompletion: there is none (any more).
            CompletionShared: others wait for its answer.
        """
        run = await self.show(run_id)
        cancelled = await self.runs.cancel(run, _CANCEL_SECONDS)
        self.journal.record(Administered(by.name, "run.cancel", run.tenant, run.id, request_id=by.request_id))
        return cancelled
