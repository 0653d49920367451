"""Attempts: one answer for a run, from whichever of its targets gives it.

Until an answer has said something, a failure is mended here: by another target, or by the same one after a pause.
``domain.remedies`` says what is to be done, ``domain.completions.health`` who may be asked.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace

from domain.chat import Chunk, Completion
from domain.completions.assembly import speaks, without_role
from domain.completions.health import Health
from domain.errors import ProviderError, ProviderTimeout
from domain.facts import ProviderAsked
from domain.ports import Call, ChatProvider, Journal
from domain.providers import Target
from domain.remedies import MOST_ASKED, Pauses, Remedy, may_retry, pause, remedy, retries
from domain.routing import Draw, Route
from domain.runs import Answered, Run


class Asking:
    """One run on its way to an answer. ``call`` is what to send, to whichever target; ``until`` its end in loop time.

    ``left`` are the targets that may still be asked, the next one first; ``asked`` is how often any was.
    """

    def __init__(self, run: Run, route: Route, call: Call) -> None:
        self.run = run
        self.route = route
        self.call = call
        self.until = asyncio.get_running_loop().time() + call.deadline
        self.left = list(route.targets)
        self.asked = 0
        #: Whether anything was given out, be it only whose turn it is to speak.
        self.opened = False
        self.target = route.first
        self.retries = False
        #: What the targets that were asked said last, and how often they were.
        self.failures: dict[str, ProviderError] = {}
        self._tries: dict[str, int] = {}

    @property
    def answered(self) -> Answered:
        """Who answers, as far as is known."""
        return Answered(self.target.provider.id, self.target.sent_model, self.asked)

    def tries(self, target: Target) -> int:
        return self._tries.get(target.id, 0)

    def take(self, target: Target) -> Call:
        """The call for this target, which is asked once more."""
        self.target = target
        self.asked += 1
        self._tries[target.id] = self.tries(target) + 1
        seconds = max(self.until - asyncio.get_running_loop().time(), 0.0)
        return replace(self.call, target=target, deadline=seconds)

    def put_back(self, target: Target) -> None:
        """Let others be asked before this one."""
        self.drop(target)
        self.left.append(target)

    def drop(self, target: Target) -> None:
        """Never ask this one again."""
        self.left = [other for other in self.left if other.id != target.id]

    def enlarge(self, target: Target) -> None:
        """From now on, ask only targets for long prompts; none that was asked."""
        window = target.model.context_window or 0
        larger = (other for other in self.route.larger if other.model.context_window is None or
                  other.model.context_window > window)  # fmt: skip
        self.left = [other for other in larger if not self.tries(other)]


@dataclass(slots=True)
class Load:
    """What is under way in this process: runs that ask, and retries among them."""

    active: int = 0
    retrying: int = 0

    def retry(self, asking: Asking) -> bool:
        """Let a run ask the same target again, from its pause on, unless too many do."""
        if not may_retry(self.retrying, self.active):
            return False
        self.retrying += 1
        asking.retries = True
        return True

    def calm(self, asking: Asking) -> None:
        """Its retry is over, if it made one."""
        self.retrying -= asking.retries
        asking.retries = False


class Attempt:
    """One request to one target; ``spoke`` says whether it has begun an answer."""

    def __init__(self, attempts: "Attempts", asking: Asking, target: Target) -> None:
        self._attempts = attempts
        self._asking = asking
        self._visit = attempts.health.visit(target)
        self.target = target
        self.call = asking.take(target)
        self.spoke = False
        self._first_token: float | None = None

    def hears(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """Take note of what it begins with; what of that is to be given out."""
        if any(map(speaks, chunks)):
            self.spoke = True
            self._first_token = self._visit.answered(first_token=True)
        if self._asking.opened:
            # An earlier attempt has opened the answer, and has said nothing in it.
            return tuple(without_role(chunk) for chunk in chunks if speaks(chunk) or chunk.usage is not None)
        self._asking.opened = bool(chunks)
        return chunks

    def succeeded(self) -> None:
        """The answer is whole."""
        if not self.spoke:
            self._visit.answered(first_token=False)
        self._tell(None)

    def failed(self, error: ProviderError) -> None:
        self._visit.failed(error)
        self._tell(error)

    def leave(self) -> None:
        """It is over, however it ended."""
        self._attempts.load.calm(self._asking)
        self._visit.leave()

    def _tell(self, error: ProviderError | None) -> None:
        run, target = self._asking.run, self.target
        self._attempts.journal.record(
            ProviderAsked(
                run_id=run.id,
                tenant=run.tenant,
                provider=target.provider.id,
                model=target.sent_model,
                key_id=target.key_id,
                asked=self._asking.asked,
                seconds=self._visit.seconds(),
                first_token_seconds=self._first_token,
                error_code=error.code if error is not None else None,
                detail=error.detail if error is not None else "",
            )
        )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Asks providers. ``first_token`` is how many seconds one may be silent where there is another to ask."""

    provider: ChatProvider
    health: Health
    journal: Journal
    draw: Draw
    first_token: float = 10.0
    pauses: Pauses = field(default_factory=Pauses)
    load: Load = field(default_factory=Load)

    async def whole(self, asking: Asking) -> Completion:
        """The whole answer of the first target that gives one.

        Raises:
            ProviderError: none does; what the last one said.
            ProviderBusy: no target has room.
        """
        with self._active(asking):
            while True:
                attempt = Attempt(self, asking, await self._next(asking))
                try:
                    completion = await self.provider.create_chat_completion(attempt.call)
                    attempt.succeeded()
                    return completion
                except ProviderError as error:
                    attempt.failed(error)
                    self._mend(asking, attempt, error)
                finally:
                    attempt.leave()

    async def stream(self, asking: Asking) -> AsyncGenerator[tuple[Chunk, ...], None]:
        """The answer as it comes, of the first target that begins one. Nothing is given out before it says something.

        Raises:
            ProviderError: no target begins one, or the one that did failed later.
        """
        with self._active(asking):
            while True:
                attempt = Attempt(self, asking, await self._next(asking))
                try:
                    async with aclosing(self.provider.stream_chat_completion(attempt.call)) as batches:
                        if self._may_be_late(asking, attempt):
                            yield attempt.hears(await self._opening(batches))
                        async for chunks in batches:
                            yield chunks if attempt.spoke else attempt.hears(chunks)
                    attempt.succeeded()
                    return
                except ProviderError as error:
                    attempt.failed(error)
                    self._mend(asking, attempt, error)
                finally:
                    attempt.leave()

    # --- whom to ask ----------------------------------------------------------------------------------------------

    @contextmanager
    def _active(self, asking: Asking) -> Iterator[None]:
        self.load.active += 1
        try:
            yield
        finally:
            self.load.active -= 1
            self.load.calm(asking)

    async def _next(self, asking: Asking) -> Target:
        """The next target to ask, when it may be asked.

        Raises:
            ProviderError: what the only one that is left said before, where it is not to be asked again.
            ProviderBusy: no target has room.
        """
        target = self.health.choose(asking.left)
        chosen = target or self.health.last_resort(asking.left)
        failure = asking.failures.get(chosen.id)
        if failure is not None:
            await self._pause(asking, asking.tries(chosen), failure)
        if target is None or failure is not None:
            await self.health.room(chosen)
        return chosen

    async def _pause(self, asking: Asking, again: int, failure: ProviderError) -> None:
        """Wait before a target is asked again that failed.

        Raises:
            ProviderError: that is not worth the wait, or there are too many retries under way.
        """
        seconds = pause(failure, again, self.pauses, self.draw())
        left = asking.until - asyncio.get_running_loop().time()
        if seconds is None or seconds >= left or not self.load.retry(asking):
            raise failure
        await asyncio.sleep(seconds)

    def _mend(self, asking: Asking, attempt: Attempt, error: ProviderError) -> None:
        """Choose who may still be asked after a failure.

        Raises:
            ProviderError: the same, where nobody may, or it has said something.
        """
        target = attempt.target
        asking.failures[target.id] = error
        if attempt.spoke:
            raise error
        match remedy(error, reroute_filtered=asking.route.reroute_filtered):
            case Remedy.TELL:
                raise error
            case Remedy.LARGER:
                asking.enlarge(target)
            case Remedy.AGAIN if asking.tries(target) <= retries(error):
                asking.put_back(target)
            case _:
                asking.drop(target)
        if not asking.left or asking.asked >= MOST_ASKED:
            raise error

    # --- the first token ------------------------------------------------------------------------------------------

    def _may_be_late(self, asking: Asking, attempt: Attempt) -> bool:
        """Whether there is another target to ask, so that this one has a time to begin in."""
        others = [target for target in asking.left if target.id != attempt.target.id]
        return bool(others) and self.health.choose(others) is not None

    async def _opening(self, batches: AsyncGenerator[tuple[Chunk, ...], None]) -> tuple[Chunk, ...]:
        """The chunks up to the first that says something; before that, nobody is told who answers.

        Raises:
            ProviderTimeout: it is late.
        """
        held: list[Chunk] = []
        try:
            async with asyncio.timeout(self.first_token):
                async for chunks in batches:
                    held += chunks
                    if any(map(speaks, chunks)):
                        break
        except TimeoutError as error:
            raise ProviderTimeout(detail="no first token in time") from error
        return tuple(held)
