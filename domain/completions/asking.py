"""A run on its way to an answer: whom it may still ask, whom it asked, and what came of that."""

import asyncio
from dataclasses import dataclass, replace

from domain.completions.assembly import Assembly
from domain.completions.continuing import MOST_SEQUELS, Said, takes_prefill
from domain.errors import ProviderError, ProviderHungUp, ProviderTruncated
from domain.ports import Call
from domain.providers import Target
from domain.remedies import MOST_ASKED, may_retry
from domain.routing import Route
from domain.runs import Answered, Run


class Asking:
    """One run on its way to an answer. ``call`` is what to send, to whichever target; ``until`` its end in loop time.

    ``left`` are the targets that may still be asked, the next one first; ``asked`` is how often any was. ``heard`` is
    what was given out of the answer, ``said`` what of that another attempt goes on with.
    """

    def __init__(self, run: Run, route: Route, call: Call, heard: Assembly) -> None:
        self.run = run
        self.heard = heard
        self.route = route
        self.call = call
        self.until = asyncio.get_running_loop().time() + call.deadline
        self.left = list(route.targets)
        self.asked = 0
        #: The choices of which anything was given out, be it only whose turn it is to speak.
        self.opened: set[int] = set()
        self.target = route.first
        self.retries = False
        self.said: Said | None = None
        self.broke_off: ProviderError = ProviderTruncated()
        self.sequels = 0
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
        span = self.call.span.child(str(self.asked)) if self.call.span is not None else None
        fresh = isinstance(self.failures.get(target.id), ProviderHungUp)
        return replace(self.call, target=target, deadline=seconds, span=span, fresh=fresh)

    def put_back(self, target: Target) -> None:
        """Let others be asked before this one."""
        self.drop(target)
        self.left.append(target)

    def drop(self, target: Target) -> None:
        """Never ask this one again."""
        self.left = [other for other in self.left if other.id != target.id]

    def goes_on(self, said: Said, target: Target, *, again: bool) -> bool:
        """Let another attempt go on with what was said, those first that can be given it; False where nobody may.

        ``target`` broke off, and may be asked ``again`` or not.
        """
        self.said = said
        self.drop(target)
        if again:
            self.left.append(target)
        self.left.sort(key=lambda other: not takes_prefill(other, self.call.body, said.tokens))
        # What it says of its usage by then is of part of the answer.
        self.heard.usage = None
        return self.may_go_on()

    def may_go_on(self) -> bool:
        """Whether anybody is left to go on with the answer."""
        return bool(self.left) and self.sequels < MOST_SEQUELS and self.asked < MOST_ASKED

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
