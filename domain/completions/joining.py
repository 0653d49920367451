"""Joining a run instead of beginning another: by Idempotency-Key, or by cache key."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.chat import ChatRequest
from domain.completions.assembly import is_cacheable
from domain.completions.naming import fingerprint, idempotency_name
from domain.errors import IdempotencyKeyReused, SluiceError
from domain.ports import Named, RunNames, RunStore
from domain.runs import Run, Status, is_terminal
from domain.tenants import Caller

#: Seconds that an owner has to begin its run, once it has the name; then the name is the next one's.
PATIENCE = 5.0
_PAUSE = 0.02
#: How long an Idempotency-Key stands for its run, in seconds.
IDEMPOTENCY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A name that this request has got for its run, until it gives it back."""

    name: str
    named: Named
    seconds: float


@dataclass(frozen=True, slots=True)
class Joining:
    """Finds the run that has a name, or gives the name to a new one: of any number at once, one gets it.

    ``known`` tells what this process knows of a run without asking the store, ``present`` how a run stands that shows
    another one's answer.
    """

    store: RunStore
    names: RunNames
    known: Callable[[str], Run | None]
    present: Callable[[Run], Awaitable[Run]]

    async def by_key(self, caller: Caller, request: ChatRequest, key: str, run_id: str) -> Run | Claimed:
        """The run that an Idempotency-Key stands for.

        Raises:
            IdempotencyKeyReused: it stands for another request's.
            StoreUnavailable: the store did not answer.
        """
        asked = fingerprint(request)
        claimed = Claimed(idempotency_name(caller, key, asked), Named(run_id, asked), IDEMPOTENCY_SECONDS)
        return await self._owner(claimed, _is_repeatable)

    async def by_cache(self, name: str, run_id: str, seconds: float) -> Run | Claimed:
        """The run whose answer is kept under a cache key, or is being made for it.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        while True:
            claimed = Claimed(name, Named(run_id, ""), seconds)
            found = await self._owner(claimed, _is_shareable)
            if isinstance(found, Claimed):
                return found
            if await self._may_be_shared(found):
                joined = await self.store.join(found.id)
                if joined is not None and _is_shareable(joined):
                    return joined
            # It ended in a way that nobody else should see, or is about to.
            taken = await self.names.adopt(name, claimed.named, seconds, instead_of=found.id)
            if taken == claimed.named:
                return claimed

    async def confirm(self, claimed: Claimed) -> bool:
        """Whether the name is still this request's, now that its run has begun."""
        return await self.names.adopt(claimed.name, claimed.named, claimed.seconds) == claimed.named

    async def give_back(self, claimed: Claimed) -> None:
        """Let the next one have the name: no run came of this request."""
        try:
            await self.names.keep(claimed.name, claimed.named.run_id, 0)
        except SluiceError:
            # Those who wait for the run lose their patience.
            return

    async def _may_be_shared(self, run: Run) -> bool:
        if not is_terminal(run.status):
            return True
        completion = await self.store.result(run.id)
        return completion is not None and is_cacheable(completion)

    async def _owner(self, claimed: Claimed, is_usable: Callable[[Run], bool]) -> Run | Claimed:
        loop = asyncio.get_running_loop()
        awaited, until = "", 0.0
        outdated: str | None = None
        while True:
            named = await self.names.adopt(claimed.name, claimed.named, claimed.seconds, instead_of=outdated)
            if named == claimed.named:
                return claimed
            if named.fingerprint != claimed.named.fingerprint:
                raise IdempotencyKeyReused
            if named.run_id != awaited:
                # Each owner has its time, the one that took the name from another, too.
                awaited, until = named.run_id, loop.time() + PATIENCE
            run = self.known(named.run_id) or await self.store.get(named.run_id)
            if run is not None and is_usable(present := await self.present(run)):
                return present
            if run is not None or loop.time() > until:
                outdated = named.run_id
            else:
                # Its request is being admitted now, was refused, or died on the way.
                await asyncio.sleep(_PAUSE)


def _is_repeatable(run: Run) -> bool:
    """Whether a repeated request is answered with this run: not if it failed before it cost anything."""
    return not (run.status is Status.FAILED and not run.charged)


def _is_shareable(run: Run) -> bool:
    return run.status is Status.COMPLETED or not (is_terminal(run.status) or run.cancelling)
