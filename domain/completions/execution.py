"""An execution: a run that this process owns, from its claim to its end, and the way to stop it."""

import asyncio
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from domain.chat import ChatRequest, Completion, Usage
from domain.completions.assembly import Assembly
from domain.completions.tail import Tail
from domain.completions.writing import LogWriter
from domain.errors import SluiceError
from domain.ledger import Account
from domain.providers import Target
from domain.routing import Route
from domain.runs import Answered, Run, Work, answered
from domain.spans import Span, span_of
from domain.tenants import Tenant
from domain.tokens import weighed

#: Seconds after which an execution that was told to stop and has not is told again: a library may swallow a
#: cancellation that comes together with a timeout of its own.
_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """A run and what it takes to execute it here; without ``tenant`` or ``route`` it can only be ended.

    ``silence`` is how many seconds its client waits for anything to come, None for as long as it takes.
    """

    run: Run
    work: Work | None
    tenant: Tenant | None = None
    route: Route | None = None
    silence: float | None = None

    @property
    def account(self) -> Account:
        return Account(self.run.tenant, self.run.group, self.run.user)

    @property
    def request_id(self) -> str | None:
        """The id of the HTTP request that asked for the run; None where the work got lost."""
        return self.work.request_id if self.work is not None else None

    @property
    def span(self) -> Span | None:
        """This attempt's part of the trace of its request."""
        asked = span_of(self.work.traceparent) if self.work is not None and self.work.traceparent else None
        return asked.child(self.run.id, str(self.run.attempt)) if asked is not None else None

    @property
    def kept(self) -> Work | None:
        """What the store needs of the work: not what its caller said, where nobody will ever begin it again."""
        if self.work is None or self.run.queued or self.run.restartable:
            return self.work
        return replace(self.work, request=ChatRequest([], {"messages": []}))


class Handover(Enum):
    """Why an execution stops that does not end its run."""

    LOST = auto()
    """The run has another owner, or has ended elsewhere."""
    REQUEUE = auto()
    """Another attempt is to be made."""


#: What stops an execution before its answer is complete.
Stop: TypeAlias = SluiceError | Handover


class Progress:
    """What came of a run so far: pieces of a stream, or a whole answer at once.

    ``began`` is when, ``first`` and ``last`` when the first and the latest of a stream came, in Unix seconds.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.first: float | None = None
        self.last = began
        self.assembly = Assembly()
        self.whole: Completion | None = None

    def heard(self, now: float) -> None:
        """Take note of when something of a stream came."""
        if self.first is None and not self.assembly.is_empty:
            self.first = now
        self.last = now

    @property
    def first_token_seconds(self) -> float | None:
        return round(max(self.first - self.began, 0.0), 6) if self.first is not None else None

    def seconds_per_token(self, usage: Usage | None) -> float | None:
        """What lay between two tokens of a stream, on average; None where there were no two."""
        if self.first is None or usage is None or usage.completion_tokens < 2:
            return None
        return round(max(self.last - self.first, 0.0) / (usage.completion_tokens - 1), 6)

    def completion(self) -> Completion:
        return self.whole if self.whole is not None else self.assembly.completion()

    @property
    def is_empty(self) -> bool:
        return self.whole is None and self.assembly.is_empty


class Execution:
    """One attempt at a run. ``stopping`` is why it is to stop, None while it is not.

    ``refusal`` is there while it is not known whether the record of the run is kept: why it is not, or None.
    """

    def __init__(self, job: Job, tail: Tail, writer: LogWriter, progress: Progress) -> None:
        self.job = job
        self.tail = tail
        self.writer = writer
        self.progress = progress
        self.stopping: Stop | None = None
        self.refusal: asyncio.Future[SluiceError | None] | None = None
        #: The event loop's time of the last look at what the run uses.
        self.checked = asyncio.get_running_loop().time()
        self._asking: asyncio.Task[object] | None = None

    def stop(self, why: Stop) -> None:
        """Break off asking the provider. Only the first reason counts; too late, it counts for nothing."""
        if self.stopping is None:
            self.stopping = why
            self._nudge()

    def keep(self, refusal: SluiceError | None) -> None:
        """Say that the record of the run is kept, or why it is not: then the run comes to nothing."""
        if self.refusal is not None:
            self.refusal.set_result(refusal)
        if refusal is not None:
            self.stop(refusal)

    def answered_by(self, target: Target, by: Answered) -> None:
        """Take note of who answers, and how often was asked until then: what is used costs what its model costs."""
        job = self.job
        if by == Answered(job.run.provider, job.run.model, job.run.asked):
            return
        work = job.work and replace(job.work, weight=target.model.weight, vocabulary=target.model.tokenizer)
        self.job = replace(job, run=answered(job.run, by), work=work)
        self.tail.run = answered(self.tail.run, by)
        self.writer.answered = by

    def used(self) -> int:
        """About what the run costs so far, in tokens of the balance: most providers send each token by itself."""
        work = self.job.work
        if work is None:
            return 0
        return min(weighed(work.prompt_tokens + len(self.tail.entries), work.weight), work.held)

    def ask(self) -> None:
        """From here on, the current task asks the provider, and may be cancelled by ``stop``."""
        self._asking = asyncio.current_task()

    def asked(self) -> None:
        """From here on, the current task may no longer be cancelled."""
        self._asking = None

    def _nudge(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            asyncio.get_running_loop().call_later(_AGAIN, self._nudge)
