"""Attempts: one answer for a run, from whichever of its targets gives it.

Until an answer has said something, a failure is mended here: by another target, or by the same one after a pause.
``domain.remedies`` says what is to be done, ``domain.completions.health`` who may be asked.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from domain.chat import Chunk, Completion
from domain.completions.asking import Asking, Load
from domain.completions.assembly import indexes, speaks, without_role
from domain.completions.continuing import Diverged, Repetition, Rest, Said, plain_text, prefilled, takes_prefill
from domain.completions.health import Health
from domain.errors import ProviderError, ProviderTimeout, ProviderTruncated
from domain.facts import ProviderAsked
from domain.ports import ChatProvider, Journal, Tokenizer
from domain.providers import Target
from domain.remedies import MOST_ASKED, Pauses, Remedy, pause, remedy, retries
from domain.routing import Draw


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
        #: The choices that earlier attempts have opened, and have said nothing in.
        self._opened = frozenset(asking.opened)
        self._sequel: Rest | Repetition | None = None
        if asking.said is not None:
            asking.sequels += 1
            self._go_on(asking.said)

    def hears(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """Take note of what it begins with; what of that is to be given out."""
        if not self.spoke and any(map(speaks, chunks)):
            self.spoke = True
            self._first_token = self._visit.answered(first_token=True)
        if self._sequel is not None:
            return self._sequel.of(chunks)
        for chunk in chunks:
            self._asking.opened.update(indexes(chunk))
        if not self._opened:
            return chunks
        return tuple(without_role(chunk, self._opened) for chunk in chunks if self._is_new(chunk))

    def _is_new(self, chunk: Chunk) -> bool:
        """Whether a chunk does more than open what an earlier attempt has opened."""
        return speaks(chunk) or chunk.usage is not None or not self._opened.issuperset(indexes(chunk))

    @property
    def is_heard(self) -> bool:
        """Whether what it says is given out as it comes."""
        return self.spoke and self._sequel is None

    def succeeded(self) -> None:
        """The answer is whole."""
        if not self.spoke:
            self._visit.answered(first_token=False)
        self._tell(None)

    def failed(self, error: ProviderError) -> None:
        self._visit.failed(error)
        self._tell(error)

    def parted(self) -> None:
        """It says something else than was said."""
        self._tell(ProviderTruncated(detail="another answer than before"))

    def leave(self) -> None:
        """It is over, however it ended."""
        self._attempts.load.calm(self._asking)
        self._visit.leave()

    def _go_on(self, said: Said) -> None:
        """Ask for the rest of what was said, where the target takes its beginning, else for all of it again."""
        if takes_prefill(self.target, self.call.body, said.tokens):
            self.call = prefilled(self.call, said)
            self._sequel = Rest(said)
        else:
            self._sequel = Repetition(said)

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
                continued=self._sequel.how if self._sequel is not None else None,
                span=self.call.span,
            )
        )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Asks providers. ``first_token`` is how many seconds one may be silent where there is another to ask."""

    provider: ChatProvider
    tokenizer: Tokenizer
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
        self.load.active += 1
        try:
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
        finally:
            self._over(asking)

    async def stream(self, asking: Asking) -> AsyncGenerator[tuple[Chunk, ...], None]:
        """The answer as it comes, of the first target that begins one. Nothing is given out before it says something.

        Raises:
            ProviderError: no target begins one, or the one that did failed later.
        """
        self.load.active += 1
        try:
            while True:
                attempt = Attempt(self, asking, await self._next(asking))
                try:
                    async with aclosing(self.provider.stream_chat_completion(attempt.call)) as batches:
                        if self._may_be_late(asking, attempt):
                            yield attempt.hears(await self._opening(batches))
                        async for chunks in batches:
                            yield chunks if attempt.is_heard else attempt.hears(chunks)
                    attempt.succeeded()
                    return
                except ProviderError as error:
                    attempt.failed(error)
                    await self._mend_stream(asking, attempt, error)
                except Diverged:
                    self._part(asking, attempt)
                finally:
                    attempt.leave()
        finally:
            self._over(asking)

    # --- whom to ask ----------------------------------------------------------------------------------------------

    def _over(self, asking: Asking) -> None:
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
        if failure is not None and remedy(failure) is not Remedy.AT_ONCE:
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
            ProviderError: the same, where nobody may.
        """
        target = attempt.target
        asking.failures[target.id] = error
        match remedy(error, reroute_filtered=asking.route.reroute_filtered):
            case Remedy.TELL:
                raise error
            case Remedy.LARGER:
                asking.enlarge(target)
            case Remedy.AT_ONCE if asking.tries(target) <= retries(error):
                # It keeps its turn.
                pass
            case Remedy.AGAIN if asking.tries(target) <= retries(error):
                asking.put_back(target)
            case _:
                asking.drop(target)
        if not asking.left or asking.asked >= MOST_ASKED:
            raise error

    # --- going on -------------------------------------------------------------------------------------------------

    async def _mend_stream(self, asking: Asking, attempt: Attempt, error: ProviderError) -> None:
        """Choose who may begin the answer, or go on with it where part of it was given out.

        Raises:
            ProviderError: the same, or why the answer broke off, where nobody may.
        """
        if asking.heard.is_empty:
            self._mend(asking, attempt, error)
            return
        asking.failures[attempt.target.id] = error
        if attempt.spoke or asking.said is None:
            asking.broke_off = error
        remedied, text = remedy(error), plain_text(asking.call.body, asking.heard)
        if text is None or (remedied is Remedy.TELL and attempt.spoke):
            raise asking.broke_off
        said = Said(text, await self.tokenizer.count(attempt.target.model.tokenizer, (text,)))
        again = remedied in (Remedy.AT_ONCE, Remedy.AGAIN) and asking.tries(attempt.target) <= retries(error)
        if not asking.goes_on(said, attempt.target, again=again):
            raise asking.broke_off

    def _part(self, asking: Asking, attempt: Attempt) -> None:
        """Ask whoever says something else no more.

        Raises:
            ProviderError: why the answer broke off, where nobody is left.
        """
        attempt.parted()
        asking.drop(attempt.target)
        if not asking.may_go_on():
            raise asking.broke_off

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
