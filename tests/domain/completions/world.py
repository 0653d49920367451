"""What stands around a completion, in memory: stores that several replicas share, and a provider with a script."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from adapters.memory.health import MemoryHealthBoard
from adapters.memory.ledger import MemoryLedger
from adapters.memory.names import MemoryRunNames
from adapters.memory.rate import MemoryRateLimiter
from adapters.memory.tenants import MemoryTenantStore
from adapters.outbox.memory import MemoryOutbox
from domain.chat import ChatRequest
from domain.completions.admission import Admission
from domain.completions.attempts import Attempts
from domain.completions.execution import Execution, Job
from domain.completions.executions import Executions
from domain.completions.health import Health
from domain.completions.keeping import Housekeeping
from domain.completions.orders import Started
from domain.completions.production import Production, RunLimits
from domain.completions.queue import JobQueue
from domain.completions.reading import Reading
from domain.completions.runs import CompletionRuns
from domain.completions.settling import Settling
from domain.completions.sharing import Sharing
from domain.completions.tail import Tail
from domain.completions.till import SeparateTill
from domain.ledger import EntryKind
from domain.providers import Planner
from domain.routing import Draw, Router
from domain.runs import Cursor, Ending, Run, Work, is_terminal
from domain.tenants import Caller, Limits
from tests.builders import (
    RUN_ID,
    a_caller,
    a_planner,
    a_request,
    a_run,
    a_stream,
    a_tenant_document,
    an_account,
    an_order,
)
from tests.fakes import (
    FlakyStore,
    ListJournal,
    LoopClock,
    Process,
    RestorableRunStore,
    ScriptedProvider,
    SeededEntropy,
    WaywardDoorbell,
    WordTokenizer,
)

#: What ``a_request()`` counts with a word for a token: its role, its content, and six around them.
PROMPT = 8
#: What a member of ``a_tenant()`` gets to begin with.
INITIAL = 1_000
#: How long an owner may be silent, in seconds.
LEASE = 10.0


class Replica(CompletionRuns):
    """A process of the gateway. It shares the stores with the others, and can be stopped, killed or told to work."""

    process: Process


@dataclass(slots=True)
class World:
    """One of everything. ``replica()`` is a process of the gateway; all replicas share what is here.

    Time is the event loop's, which passes while everybody waits. ``queue_seconds`` is how long a run may wait.
    """

    queue_seconds: float = 600.0
    clock: LoopClock = field(default_factory=LoopClock)
    provider: ScriptedProvider = field(default_factory=lambda: ScriptedProvider(a_stream("Hello", " world")))
    tokenizer: WordTokenizer = field(default_factory=WordTokenizer)
    journal: ListJournal = field(default_factory=ListJournal)
    planner: Planner = field(default_factory=a_planner)
    draw: Draw = field(default_factory=lambda: random.Random(0).random)
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    bell: WaywardDoorbell = field(default_factory=WaywardDoorbell)
    tenants: FlakyStore[MemoryTenantStore] = field(init=False)
    ledger: FlakyStore[MemoryLedger] = field(init=False)
    limiter: FlakyStore[MemoryRateLimiter] = field(init=False)
    store: FlakyStore[RestorableRunStore] = field(init=False)
    names: FlakyStore[MemoryRunNames] = field(init=False)
    board: MemoryHealthBoard = field(init=False)
    _seeds: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.tenants = FlakyStore(MemoryTenantStore({"acme": a_tenant_document()}, defaults=Limits()))
        self.ledger = FlakyStore(MemoryLedger(self.clock))
        self.limiter = FlakyStore(MemoryRateLimiter(self.clock))
        self.store = FlakyStore(RestorableRunStore(self.clock, self.bell, lease=LEASE, queue=self.queue_seconds))
        self.board = MemoryHealthBoard(self.clock)
        self.names = FlakyStore(MemoryRunNames(self.clock))

    # --- replicas -------------------------------------------------------------------------------------------------

    def admission(self, process: Process | None = None) -> Admission:
        process = process or Process()
        limiter, ledger = process.port(self.limiter.port), process.port(self.ledger.port)
        return Admission(self.router, self.tokenizer, limiter, ledger, self.till(process))

    def till(self, process: Process) -> SeparateTill:
        reach = process.port
        return SeparateTill(reach(self.limiter.port), reach(self.ledger.port), reach(self.store.port))

    @property
    def router(self) -> Router:
        return Router(self.planner, self.draw)

    def attempts(self, process: Process | None = None) -> Attempts:
        reach, journal = (process or Process()).port, self.journal
        return Attempts(
            reach(self.provider), self.tokenizer, Health(self.clock, journal, self.draw), reach(journal), self.draw
        )

    def sharing(self, process: Process) -> Sharing:
        health = Health(self.clock, self.journal, self.draw)
        return Sharing("replica", health, process.port(self.board), process.port(self.journal))

    def production(self, limits: RunLimits | None = None, process: Process | None = None) -> Production:
        reach = (process or Process()).port
        return Production(
            self.attempts(process),
            reach(self.store.port),
            reach(self.names.port),
            Settling(reach(self.ledger.port), self.outbox, reach(self.limiter.port), reach(self.journal)),
            self.till(process or Process()),
            self.tokenizer,
            reach(self.journal),
            self.clock,
            limits or RunLimits(),
        )

    def replica(self, limits: RunLimits | None = None) -> Replica:
        process, limits = Process(), limits or RunLimits()
        replica = Replica(
            self.admission(process),
            self.production(limits, process),
            process.port(self.tenants.port),
            process.port(self.store.port),
            process.port(self.names.port),
            process.bell(self.bell),
            self.sharing(process),
            self.router,
            process.port(self.journal),
            self.clock,
            SeededEntropy(next(self._seeds)),
            limits,
        )
        replica.process = process
        return replica

    async def worker(self, limits: RunLimits | None = None) -> Replica:
        """A replica that looks after its runs and takes queued ones."""
        replica = self.replica(limits)
        await replica.work()
        return replica

    def housekeeping(self, worker: str = "keeper", limits: RunLimits | None = None) -> Housekeeping:
        """The housekeeping of a replica that executes nothing, to make rounds by hand."""
        limits, store = limits or RunLimits(), self.store.port
        production = self.production(limits)
        executions = Executions(production, Reading(store, self.bell, limits), self.bell, self.clock)
        queue = JobQueue(store, self.bell, limits)
        return Housekeeping(worker, store, production, executions, queue, self.journal, limits)

    # --- one run --------------------------------------------------------------------------------------------------

    async def execution(
        self,
        request: ChatRequest | None = None,
        caller: Caller | None = None,
        *,
        limits: RunLimits | None = None,
        process: Process | None = None,
        work: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Execution:
        """A request that was admitted and whose run has begun, but has not said anything yet."""
        request, caller = request or a_request(), caller or a_caller()
        admitted = await self.admission().admit(caller, request, RUN_ID)
        run = a_run(created=int(self.clock()), **changes)
        kept = Work(
            request,
            "req-1",
            admitted.prepared.prompt_tokens,
            admitted.hold.amount,
            admitted.prepared.estimate,
            admitted.completion_bound,
            caller.tenant.policy,
            admitted.prepared.route.first.model.tokenizer,
            **{"admitted_at": admitted.verdict.at, **(work or {})},
        )
        await self.store.wrapped.begin(run, kept)
        job = Job(run, kept, caller.tenant, admitted.prepared.route)
        return self.production(limits, process).execution(job, Tail(run))

    async def balance(self) -> int:
        return await self.ledger.wrapped.available(an_account())

    async def settlements(self) -> int:
        """How often anything was charged."""
        history = await self.ledger.wrapped.history(an_account())
        return [entry.kind for entry in history].count(EntryKind.SETTLE)

    async def log(self, run: Run) -> list[bytes]:
        """The entries that the store has of a run."""
        part = await self.store.wrapped.read(run.id, 0)
        return list(part.entries) if part is not None else []

    async def record(self, run: Run) -> Run:
        """The run as the store has it."""
        kept = await self.store.wrapped.get(run.id)
        assert kept is not None
        return kept

    async def over(self, run: Run) -> Run:
        """The run as the store has it, once it has ended."""
        with anyio.fail_after(600):
            while not is_terminal((await self.record(run)).status):  # noqa: ASYNC110 - the store rings for nobody here
                await asyncio.sleep(0.05)
        return await self.record(run)


async def start(
    replica: CompletionRuns, caller: Caller | None = None, request: ChatRequest | None = None, **order: Any
) -> Started:
    """Begin a run as a surface does."""
    caller = caller or a_caller()
    run_id = replica.announce(caller, "chatcmpl", order.get("conversation"))
    return await replica.start(caller, request or a_request(), an_order(run_id, **order))


async def begin(
    replica: CompletionRuns, caller: Caller | None = None, request: ChatRequest | None = None, **order: Any
) -> tuple[Run, Tail]:
    """Begin a run that is executed here."""
    begun = await start(replica, caller, request, **order)
    assert begun.tail is not None
    return begun.run, begun.tail


async def enqueue(
    replica: CompletionRuns, caller: Caller | None = None, request: ChatRequest | None = None, **order: Any
) -> Started:
    """Queue a job as a surface does."""
    caller = caller or a_caller()
    run_id = replica.announce(caller, "job", order.get("conversation"))
    return await replica.enqueue(caller, request or a_request(), an_order(run_id, **order))


async def follow(replica: CompletionRuns, run_id: str, seen: int = 0, user: str = "ann") -> tuple[list[bytes], Ending]:
    """What a reader on this replica gets who has seen so many entries, and how it ends."""
    run = await replica.find(run_id, "acme", user)
    with anyio.fail_after(3_600):
        async with replica.following(run, Cursor(seen)) as tail:
            entries = await read_all(tail, seen)
            return entries, await ended(tail)


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
    with anyio.fail_after(3_600):
        ending = await tail.ended()
    assert ending is not None
    return ending


async def outcome(work: Awaitable[object]) -> object:
    """What came of it, an error too."""
    (answer,) = await asyncio.gather(work, return_exceptions=True)
    return answer


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else go on until something is the case; time passes if it must."""
    with anyio.fail_after(600):
        while not condition():
            await settled()
            if not condition():
                await asyncio.sleep(0.01)


async def settled(rounds: int = 20) -> None:
    """Let everybody else go on until nobody has anything left to do but wait."""
    for _ in range(rounds):
        await checkpoint()
