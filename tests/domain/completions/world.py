"""What stands around a completion, in memory: stores that several replicas share, and a provider with a script."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from adapters.memory.ledger import MemoryLedger
from adapters.memory.rate import MemoryRateLimiter
from adapters.memory.runs import MemoryRunStore
from domain.chat import ChatRequest
from domain.completions.admission import Admission
from domain.completions.production import Job, Production, RunLimits
from domain.completions.runs import CompletionRuns, Started
from domain.completions.tail import Tail
from domain.providers import Planner
from domain.runs import Ending, Run
from domain.tenants import Caller
from tests.builders import RUN_ID, a_caller, a_planner, a_request, a_run, a_stream, an_account, an_order
from tests.fakes import FlakyStore, FrozenClock, ListJournal, ScriptedProvider, SeededEntropy, WordTokenizer

#: What ``a_request()`` counts with a word for a token: its role, its content, and six around them.
PROMPT = 8
#: What a member of ``a_tenant()`` gets to begin with.
INITIAL = 1_000
HOLD_SECONDS = 3_600.0


@dataclass(slots=True)
class World:
    """One of everything. ``replica()`` is a process of the gateway; all replicas share what is here."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    provider: ScriptedProvider = field(default_factory=lambda: ScriptedProvider(a_stream("Hello", " world")))
    tokenizer: WordTokenizer = field(default_factory=WordTokenizer)
    journal: ListJournal = field(default_factory=ListJournal)
    planner: Planner = field(default_factory=a_planner)
    ledger: FlakyStore[MemoryLedger] = field(init=False)
    limiter: FlakyStore[MemoryRateLimiter] = field(init=False)
    store: FlakyStore[MemoryRunStore] = field(init=False)
    _seeds: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.ledger = FlakyStore(MemoryLedger(self.clock))
        self.limiter = FlakyStore(MemoryRateLimiter(self.clock))
        self.store = FlakyStore(MemoryRunStore(self.clock))

    def admission(self) -> Admission:
        return Admission(self.planner, self.tokenizer, self.limiter.port, self.ledger.port, HOLD_SECONDS)

    def production(self, limits: RunLimits | None = None) -> Production:
        return Production(
            self.provider,
            self.store.port,
            self.ledger.port,
            self.limiter.port,
            self.tokenizer,
            self.journal,
            self.clock,
            limits or RunLimits(),
        )

    def replica(self, limits: RunLimits | None = None) -> CompletionRuns:
        return CompletionRuns(
            self.admission(),
            self.production(limits),
            self.store.port,
            self.journal,
            self.clock,
            SeededEntropy(next(self._seeds)),
            limits or RunLimits(),
        )

    async def job(
        self, request: ChatRequest | None = None, caller: Caller | None = None, *, live: bool = True
    ) -> tuple[Job, Tail]:
        """A request that was admitted and whose run has begun, but has not said anything yet."""
        request, caller = request or a_request(), caller or a_caller()
        admitted = await self.admission().admit(caller, request, RUN_ID)
        run = a_run(created=int(self.clock()))
        await self.store.wrapped.begin(run)
        return Job(run, caller, request, admitted, "req-1", live), Tail(run, live=live)

    async def balance(self) -> int:
        return await self.ledger.wrapped.available(an_account())

    async def log(self, run: Run) -> list[bytes]:
        """The entries that the store has of a run."""
        part = await self.store.wrapped.read(run.id, 0)
        return list(part.entries) if part is not None else []

    async def record(self, run: Run) -> Run:
        """The run as the store has it."""
        kept = await self.store.wrapped.get(run.id)
        assert kept is not None
        return kept


async def start(
    replica: CompletionRuns, caller: Caller | None = None, request: ChatRequest | None = None, **order: Any
) -> Started:
    """Begin a run as a surface does."""
    caller = caller or a_caller()
    run_id = replica.announce(caller, "chatcmpl", order.get("conversation"))
    return await replica.start(caller, request or a_request(), an_order(run_id, **order))


async def enqueue(replica: CompletionRuns, caller: Caller | None = None, request: ChatRequest | None = None) -> Started:
    """Queue a job as a surface does."""
    caller = caller or a_caller()
    return await replica.enqueue(caller, request or a_request(), an_order(replica.announce(caller, "job")))


async def read_all(tail: Tail, seen: int = 0) -> list[bytes]:
    """Everything behind ``seen``, as a reader gets it: wait, take what is there, until the end."""
    got: list[bytes] = []
    while True:
        await tail.grown(seen + len(got))
        got += tail.entries[seen + len(got) :]
        if tail.ending is not None:
            return got


async def ended(tail: Tail) -> Ending:
    """How a run ended, once it has."""
    with anyio.fail_after(10):
        ending = await tail.ended()
    assert ending is not None
    return ending


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else go on until something is the case."""
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()


async def settled(rounds: int = 20) -> None:
    """Let everybody else go on until nobody has anything left to do but wait."""
    for _ in range(rounds):
        await checkpoint()
