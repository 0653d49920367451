"""A run: one execution of a completion. Its id, its states as a table, the cursor into its log.

A reader follows the run's log, the first one from the start and a returning one from its cursor.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from domain.chat import ChatRequest, Completion, Usage
from domain.errors import CursorAhead, GenerationRestarted, InvalidCursor, Kind, RunFailed, SluiceError
from domain.tenants import GroupId, TenantId, UserId, is_nobody
from domain.tokens import TokenPolicy


class Status(Enum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: The states that may follow each state. A terminal one is followed by none.
NEXT: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELLED, Status.FAILED}),
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUEUED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}


#: How often a run is begun at most; whoever owned it the last time went without a word.
MAX_ATTEMPTS = 3


def is_terminal(status: Status) -> bool:
    return not NEXT[status]


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed, as it is kept: enough to tell every reader the same thing. ``retry_after`` is in seconds."""

    kind: str
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None

    @classmethod
    def of(cls, error: SluiceError) -> "RunError":
        return cls(error.kind.name, error.code, error.message, error.param, getattr(error, "retry_after", None))

    def as_exception(self) -> RunFailed:
        return RunFailed(
            self.message, kind=Kind[self.kind], code=self.code, param=self.param, retry_after=self.retry_after
        )


@dataclass(frozen=True, slots=True)
class Run:
    """The record of a run. ``created`` is in Unix seconds; ``tail`` is the number of the last entry in its log.

    ``attempt`` counts generations, and each has a log of its own; a run that waits for its first has none. ``fence``
    grows with each owner, and only the latest may write; ``begun`` is the one that began this generation from the
    queue, and tells it from another of the same number that the store has forgotten. ``answer_id`` is the id that the
    answer shows, which on the tenant surface is the conversation's. ``extras`` says whether the answer keeps what a
    provider sends beyond OpenAI's fields, ``include_usage`` whether its stream shows usage. ``charged`` is in tokens,
    None until the run is settled. ``fingerprint`` is of the request, where it may be asked again to resume its stream.

    ``live`` says whether the provider is asked for a stream. ``queued`` says that the run came through the queue, so
    that nobody's stream breaks when it is begun again; ``restartable``, that somebody may ask for it who has seen
    nothing yet. ``detach_grace`` is how many seconds the run goes on without a reader, None for as long as it takes.

    ``provider`` and ``model`` are whom the run was planned for, until it is known who answers; ``asked`` is how often
    providers were asked for the answer.

    A view is a run that shows the answer of another one, its ``source``: while that goes on, or, where it had ended
    before (``replayed``), as its result.
    """

    id: str
    tenant: TenantId
    group: GroupId
    user: UserId
    answer_id: str
    provider: str
    model: str
    created: int
    extras: bool = True
    include_usage: bool = False
    conversation: str | None = None
    status: Status = Status.IN_PROGRESS
    attempt: int = 1
    fence: int = field(default=1, compare=False)
    begun: int = field(default=0, compare=False)
    tail: int = 0
    usage: Usage | None = None
    charged: int | None = None
    error: RunError | None = None
    live: bool = True
    queued: bool = False
    restartable: bool = False
    detach_grace: float | None = None
    fingerprint: str = ""
    cancelling: bool = False
    followers: int = 0
    source: str | None = None
    replayed: bool = False
    asked: int = 0

    def readable_by(self, tenant: TenantId, user: UserId | None) -> bool:
        """Whether this caller may see the run. A run of nobody's belongs to whoever in the tenant knows its id."""
        return self.tenant == tenant and (is_nobody(self.group, self.user) or self.user == user)

    @property
    def log_id(self) -> str:
        """The run whose log holds this one's answer."""
        return self.source or self.id

    def may_begin_again(self) -> bool:
        """Whether another attempt would splice nothing that a reader has seen, and is worth making.

        A queued run is nobody's stream: whoever watches it is told that it began again.
        """
        if self.cancelling or self.attempt >= MAX_ATTEMPTS:
            return False
        return self.queued or (self.restartable and not self.tail)


@dataclass(frozen=True, slots=True)
class Work:
    """What it takes to execute a run, or to settle it, on whatever replica; gone when the run has ended.

    ``model`` is the name that was asked for. ``held`` and ``estimate`` are what admission took from the balance and
    from the tokens-per-minute meter. ``completion_bound`` is the bound to send where the token policy lowers the
    request's own. ``policy``, ``vocabulary`` and ``weight``, what one token costs, settle it even if the tenant is gone
    meanwhile. ``admitted_at`` is when the meters were charged, in Unix seconds of the store's. ``cache_name`` is what
    the answer is kept under for ``cache_seconds``, if it is one to keep. ``named`` says that the caller chose the
    provider.
    ``traceparent`` names the span of the request that asked for it, where traces are drawn.
    """

    request: ChatRequest
    request_id: str
    prompt_tokens: int
    held: int
    estimate: int
    completion_bound: int | None
    policy: TokenPolicy
    vocabulary: str
    weight: float = 1.0
    admitted_at: float = 0.0
    cache_name: str | None = None
    cache_seconds: float = 0.0
    traceparent: str | None = None
    named: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that the claimer now owns, as long as it keeps its lease, and what it takes to execute it.

    ``work`` is None where the store has lost it.
    """

    run: Run
    work: Work | None


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answers a run: a provider, the model's name there, and how often providers were asked until then."""

    provider: str
    model: str
    asked: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The last entry of a run: how it ended, and with what."""

    status: Status
    completion: Completion | None = None
    usage: Usage | None = None
    charged: int = 0
    error: RunError | None = None


def ended(run: Run, ending: Ending, tail: int | None = None) -> Run:
    """The record of a run as its ending leaves it, with so many entries where the record does not have them yet."""
    return replace(
        run,
        status=ending.status,
        usage=ending.usage,
        charged=ending.charged,
        error=ending.error,
        tail=run.tail if tail is None else tail,
    )


def answered(run: Run, by: Answered) -> Run:
    """The record of a run of which it is known who answers it."""
    return replace(run, provider=by.provider, model=by.model, asked=by.asked)


def begun_again(run: Run) -> Run:
    """The record of a run that waits for its next attempt."""
    return replace(run, status=Status.QUEUED, tail=0)


def claimed(run: Run) -> Run:
    """The record of a queued run as its claimer gets it."""
    fence = run.fence + 1
    return replace(run, status=Status.IN_PROGRESS, attempt=run.attempt + 1, fence=fence, begun=fence)


def as_view(view: Run, source: Run) -> Run:
    """The view as its source lets it be seen; it costs nothing."""
    return replace(
        view,
        status=source.status,
        provider=source.provider,
        model=source.model,
        asked=source.asked,
        attempt=source.attempt,
        tail=0 if view.replayed else source.tail,
        usage=source.usage,
        error=source.error,
        charged=0 if is_terminal(source.status) else None,
        detach_grace=None,
    )


class Standing(Enum):
    """What became of an attempt to write to a run's log."""

    OWNED = "owned"
    """It was written, or had been written before."""
    CANCELLING = "cancelling"
    """The same, and somebody asks for the run to be cancelled."""
    BEHIND = "behind"
    """Nothing was written: the log has lost entries, and ends sooner than where these would begin."""
    LOST = "lost"
    """Nothing was written: the run has another owner, or ended otherwise."""
    UNKNOWN = "unknown"
    """Nothing was written: there is no such run."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The standing of a writer, and the number of the log's last entry."""

    standing: Standing
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """A look at one shard: how many runs wait, how soon the first of them is due, which runs are overdue.

    ``turn`` is the fair order among tenants, comparable between shards; None where nobody waits. ``overdue`` are
    runs whose owner has let its lease lapse, and queued ones that have waited for too long. ``first`` is the run whose
    turn it is.
    """

    waiting: int = 0
    turn: int | None = None
    overdue: tuple[str, ...] = ()
    first: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Entries of a run's log, from just after the asked place, and the run as it stood when they were read."""

    run: Run
    entries: tuple[bytes, ...] = field(default=())


#: The virtual shards. A run's keys lie in one of them, which any replica knows from its id.
SHARDS = 16

# --- ids ----------------------------------------------------------------------------------------------------------

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RUN_ID = re.compile(rf"(?:job|chatcmpl)-[0-7][{_CROCKFORD}]{{25}}")
#: Bytes of randomness in a ULID. https://github.com/ulid/spec
ULID_ENTROPY = 10


def ulid(now: float, entropy: bytes) -> str:
    """A ULID of the Unix time ``now`` in seconds and 10 random bytes.

    Never monotonic: for the anonymous group an id is a capability, so the next one must not follow from the last.
    """
    value = int(now * 1000) << 80 | int.from_bytes(entropy, "big")
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def ulid_time(run_id: str) -> float:
    """When a run's id was made, in Unix seconds."""
    milliseconds = 0
    for digit in run_id[-26:-16]:
        milliseconds = milliseconds << 5 | _CROCKFORD.index(digit)
    return milliseconds / 1000


def is_run_id(text: str) -> bool:
    return _RUN_ID.fullmatch(text) is not None


def shard_of(run_id: str) -> int:
    """The virtual shard of a run, 0 to 15, as every replica derives it from the id."""
    return _CROCKFORD.index(run_id[-1]) & 15


def with_shard(run_id: str, shard: int) -> str:
    """The id moved to another shard, for a run that must share its slot with something else."""
    last = _CROCKFORD.index(run_id[-1])
    return run_id[:-1] + _CROCKFORD[last & ~15 | shard & 15]


def conversation_after(run_id: str) -> str:
    """The id of a conversation that has none yet: it is named after its first run."""
    return "conv-" + run_id.partition("-")[2]


def first_run_of(conversation: str) -> str:
    """The run after which a conversation was named; of any other conversation, an id that no run has."""
    return "chatcmpl-" + conversation.partition("-")[2]


def conversation_shard(tenant: TenantId, user: UserId, conversation: str) -> int:
    """The shard in which a conversation's runs live, so that its latest run is found in the same slot."""
    digest = hashlib.sha256("\0".join((tenant, user, conversation)).encode()).digest()
    return digest[0] & 15


# --- the cursor ---------------------------------------------------------------------------------------------------

#: Behind the last delta an ended stream has two more places: its usage chunk, and ``[DONE]`` or the error.
USAGE_PLACE = 1
END_PLACE = 2
_CURSOR = re.compile(r"(?:(?P<run>[a-z]+-[0-9A-Z]{26}):(?P<attempt>[0-9]{1,9})-)?(?P<seq>[0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a run's log: everything up to and with ``seq`` has been seen. ``attempt`` None is the current one."""

    seq: int = 0
    attempt: int | None = None


def parse_cursor(text: str, run_id: str) -> Cursor:
    """A cursor from an SSE id (``<run id>:<attempt>-<seq>``) or a bare number.

    Raises:
        InvalidCursor: malformed, or of another run.
    """
    match = _CURSOR.fullmatch(text)
    if match is None or (match["run"] is not None and match["run"] != run_id):
        raise InvalidCursor
    return Cursor(int(match["seq"]), int(match["attempt"]) if match["attempt"] else None)


def run_of_cursor(text: str) -> str | None:
    """The run that a cursor names; None for a bare number.

    Raises:
        InvalidCursor: malformed.
    """
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidCursor
    return match["run"]


def require_place(run: Run, cursor: Cursor) -> None:
    """Raise unless the cursor is a place that this run has reached.

    Raises:
        GenerationRestarted: it belongs to an older attempt, or to one that is over while the next one is awaited.
        CursorAhead: it is ahead of the tail, or of an attempt that has not been.
    """
    if cursor.attempt is not None and cursor.attempt < run.attempt:
        raise GenerationRestarted
    if run.status is Status.QUEUED and run.attempt and cursor.seq and (cursor.attempt or run.attempt) == run.attempt:
        raise GenerationRestarted
    last = run.tail + (END_PLACE if is_terminal(run.status) else 0)
    if cursor.seq > last or (cursor.attempt or 0) > run.attempt:
        raise CursorAhead
