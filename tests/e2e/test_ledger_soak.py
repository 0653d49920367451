"""A minute of everything at once: replicas and their Redis die again and again, replies get lost, the books balance.

``SOAK_SECONDS`` in the environment makes it longer; ``make soak`` takes ten minutes.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.completions.admission import HOLD_SECONDS
from domain.ledger import Account, Entry, EntryKind
from tests.e2e.accounts import histories, require_clean_audit
from tests.e2e.client import Answer, ask
from tests.e2e.conftest import TENANT, Figure, token
from tests.e2e.meddler import Fate, Judge, Meddler, meddling
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
#: So many that no history is cut.
USERS = max(10, int(SECONDS / 4))
GRANT = 1_000_000
CLIENTS = 10
#: Seconds between two kills of a replica, and between two faults of Redis.
KILL, FAULT = 0.4, 7.0
#: Replicas, and how many of them may be starting while the others answer.
REPLICAS, SPARE = 8, 6
#: No hold is open for longer: of a run that waits in the queue, and was never heard of.
LONGEST_HOLD = HOLD_SECONDS + 600.0 + 5.0


@dataclass(frozen=True, slots=True)
class Note:
    """What a client was told of a run that it saw the end of, in tokens. ``charged`` is None where nobody told."""

    run_id: str
    user: str
    scripted: int
    usage: int
    charged: int | None


@dataclass(slots=True)
class Soak:
    """What goes on: the replicas that are up, the oldest first; what clients noted; how often what happened."""

    stage: Stage
    ways: Sequence[Meddler]
    settings: Mapping[str, str]
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    spare: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SPARE))
    replicas: dict[int, GatewayProcess] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.until

    async def start(self, place: int) -> None:
        """A replica that reaches Redis by one of the two ways, in a place that is free."""
        way = self.ways[place % len(self.ways)]
        self.replicas[place] = await asyncio.to_thread(self.stage.serve, SLUICE_REDIS_URL=way.url, **self.settings)

    def replica(self, dice: random.Random) -> GatewayProcess:
        return dice.choice(list(self.replicas.values()))


def losing(seed: int) -> Judge:
    """Every thirtieth command or so that changes anything is executed without a reply, or not at all."""
    dice = random.Random(seed)

    def judge(command: bytes) -> Fate:
        if b"EVALSHA" not in command and b"DECRBY" not in command:
            return Fate.PASS
        return dice.choices((Fate.PASS, Fate.LOSE_REPLY, Fate.SWALLOW_REPLY, Fate.WITHHOLD), weights=(970, 20, 5, 5))[0]

    return judge


# --- faults -----------------------------------------------------------------------------------------------------------


async def keep_killing(soak: Soak) -> None:
    """Again and again the replica that has lived longest is killed, and another one started in its place."""
    due = time.monotonic()
    async with asyncio.TaskGroup() as starts:
        while not soak.is_over:
            due += KILL
            await asyncio.sleep(due - time.monotonic())
            await soak.spare.acquire()
            place = next(iter(soak.replicas))
            # Its clients find out.
            soak.replicas.pop(place).kill()
            soak.told["replicas killed"] += 1
            starts.create_task(replace(soak, place))


async def replace(soak: Soak, place: int) -> None:
    await soak.start(place)
    soak.spare.release()


async def keep_faulting(soak: Soak, server: RedisServer) -> None:
    """Redis is killed and started from its file, or frozen, in turns."""
    due = time.monotonic() + FAULT
    while due < soak.until:
        await asyncio.sleep(due - time.monotonic())
        due += FAULT
        if soak.told["Redis killed"] > soak.told["Redis frozen"]:
            soak.told["Redis frozen"] += 1
            server.freeze()
            await asyncio.sleep(1.5)
            server.thaw()
            continue
        soak.told["Redis killed"] += 1
        server.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)


# --- clients ----------------------------------------------------------------------------------------------------------


async def keep_spending(soak: Soak, seed: int) -> None:
    dice = random.Random(seed)
    while not soak.is_over:
        try:
            async with asyncio.timeout(30):
                await spend(soak, dice)
        except (OSError, EOFError, TimeoutError, json.JSONDecodeError, KeyError, ValueError):
            # Whatever it was told before, it was not told the end.
            soak.told["cut"] += 1
        await asyncio.sleep(0.05)


async def spend(soak: Soak, dice: random.Random) -> None:
    """One answer, of one of three kinds, for one of the users."""
    user, words = f"u{dice.randrange(USERS)}", dice.randrange(3, 40)
    kind = dice.choice(("whole", "stream", "job"))
    headers = {"Authorization": f"Bearer {token(user, lifetime=3_600)}"}
    body: dict[str, object] = {"model": f"words-n{words}-i5", "messages": [{"role": "user", "content": "hello"}]}
    if kind == "job":
        note = await queue(soak, dice, body, headers)
    else:
        note = await answer(soak, dice, body | streaming(kind), headers)
    soak.told[f"{kind} seen to its end" if note else f"{kind} failed"] += 1
    if note is not None:
        soak.notes.append(Note(note[0], user, words + 1, note[1], note[2]))


def streaming(kind: str) -> dict[str, object]:
    return {"stream": True, "stream_options": {"include_usage": True}} if kind == "stream" else {}


async def answer(
    soak: Soak, dice: random.Random, body: Mapping[str, object], headers: Mapping[str, str]
) -> tuple[str, int, int | None] | None:
    """The run, the usage and the charge that a client was told with the whole of an answer; None without."""
    got = await ask(soak.replica(dice), "POST", f"/{TENANT}/v1/chat/completions", body, headers)
    content = await got.rest()
    if got.status != 200 or not got.whole:
        return None
    if "stream" not in body:
        return got.run_id, got.json["usage"]["total_tokens"], int(got.headers["x-sluice-charged-tokens"])
    if not content.endswith(b"data: [DONE]\n\n"):
        return None
    return got.run_id, usage_in(content), await charge_of(soak, dice, got.run_id, headers)


def usage_in(content: bytes) -> int:
    """The usage that a stream told in its last event."""
    lines = [line for line in content.decode().splitlines() if line.startswith("data: {")]
    usage: int = json.loads(lines[-1].removeprefix("data: "))["usage"]["total_tokens"]
    return usage


async def charge_of(soak: Soak, dice: random.Random, run_id: str, headers: Mapping[str, str]) -> int | None:
    """What a run was charged, if a replica lives to tell."""
    with suppress(OSError, EOFError, KeyError):
        state = await fetched(soak, dice, run_id, headers)
        return int(state.headers["x-sluice-charged-tokens"])
    return None


async def fetched(soak: Soak, dice: random.Random, run_id: str, headers: Mapping[str, str], wait: int = 0) -> Answer:
    path = f"/{TENANT}/v1/chat/completions/{run_id}"
    got = await ask(soak.replica(dice), "GET", path, headers={**headers, "Prefer": f"wait={wait}"})
    await got.rest()
    return got


async def queue(
    soak: Soak, dice: random.Random, body: Mapping[str, object], headers: Mapping[str, str]
) -> tuple[str, int, int | None] | None:
    """The same of a job, which is asked for until it has ended."""
    job = await ask(soak.replica(dice), "POST", "/v1/chat/completions", {**body, "group_id": "staff"}, headers)
    await job.rest()
    if not job.whole or job.status not in (200, 202):
        return None
    while True:
        with suppress(OSError, EOFError):
            state = await fetched(soak, dice, job.json["id"], headers, wait=2)
            if state.whole and state.status == 200 and state.json["status"] not in ("queued", "in_progress"):
                if state.json["status"] != "completed":
                    return None
                charged = int(state.headers["x-sluice-charged-tokens"])
                return job.json["id"], state.json["usage"]["total_tokens"], charged
        await asyncio.sleep(0.05)


# --- the naive way ----------------------------------------------------------------------------------------------------


async def keep_spending_naively(soak: Soak, url: str) -> int:
    """A counter that is taken from, again where no reply came; what its clients say they have spent."""
    spent, dice = 0, random.Random(7)
    client = Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0))
    while not soak.is_over:
        cost = dice.randrange(4, 41)
        while True:
            try:
                await client.decrby("naive:balance", cost)
                break
            except (RedisError, OSError):
                await asyncio.sleep(0.02)
        spent += cost
        await asyncio.sleep(0.02)
    await client.aclose()
    return spent


# --- the books --------------------------------------------------------------------------------------------------------


def missing(granted: int, available: int, spent: int) -> int:
    """The audit of a balance: what was granted, and is neither there nor spent."""
    return granted - available - spent


def total(entries: Sequence[Entry], *kinds: EntryKind) -> int:
    return sum(entry.amount for entry in entries if entry.kind in kinds)


def require_settled_once(note: Note, entries: Sequence[Entry]) -> None:
    """A run that a client saw the end of was charged what the client saw, by one settlement."""
    own = [entry for entry in entries if entry.operation == note.run_id]
    kinds = Counter(entry.kind for entry in own)
    assert kinds[EntryKind.HOLD] == 1, (note, own)
    assert kinds[EntryKind.SETTLE] == 1, (note, own)
    assert total(own, EntryKind.SETTLE, EntryKind.LAPSE) == note.usage == note.scripted, (note, own)
    assert note.charged in (None, note.usage), note


def written(folder: Path) -> int:
    found = 0
    for path in folder.glob("*.outbox"):
        # It may go meanwhile, with its process.
        with suppress(FileNotFoundError):
            found += path.read_bytes().count(b"\n")
    return found


def open_runs(stage: Stage) -> int:
    return sum(stage.store.command("ZCARD", key) for key in stage.store.all_keys("{run:*}:leases"))


async def test_everything_dies_again_and_again_and_the_books_balance(
    lasting: Stage, figure: Figure, tmp_path: Path
) -> None:
    server, folder = lasting.store.nodes[0], tmp_path / "outbox"
    lasting.store.set_up(groups={"staff": {"initial_tokens": GRANT}})
    server.command("SET", "naive:balance", GRANT)
    settings = {"SLUICE_OUTBOX": str(folder), "SLUICE_JOB_SLOTS": "8"}
    with meddling(server) as one, meddling(server) as other, meddling(server) as naive_way:
        for number, way in enumerate((one, other, naive_way)):
            way.meddle(losing(number))
        soak = Soak(lasting, (one, other), settings)
        await asyncio.gather(*(soak.start(place) for place in range(REPLICAS)))
        naively = asyncio.ensure_future(keep_spending_naively(soak, naive_way.url))
        await asyncio.gather(
            keep_killing(soak),
            keep_faulting(soak, server),
            *(keep_spending(soak, seed) for seed in range(CLIENTS)),
        )
        for way in (one, other, naive_way):
            way.relent()
        naive = await naively
        lost = sum(way.meetings for way in (one, other))
        calm = time.monotonic()
        await asyncio.to_thread(wait_until, lambda: not open_runs(lasting), "the end of all runs", 60)
        await asyncio.to_thread(wait_until, lambda: not written(folder), "an empty outbox", 30)
        settled = time.monotonic() - calm
        books = await histories(server.url, LONGEST_HOLD)

    tell(figure, soak, lost, settled)
    require_balanced(lasting, soak, books, figure)
    require_clean_audit(server.url)
    # The same audit finds what the naive way has lost, under the same faults.
    astray = missing(GRANT, int(server.command("GET", "naive:balance")), naive)
    figure(f"a plain DECRBY with retries: {astray} of {naive} tokens charged that nobody spent ({astray / naive:.1%})")
    assert astray != 0
    require_enough(soak)


def tell(figure: Figure, soak: Soak, lost: int, settled: float) -> None:
    events = ", ".join(f"{what} {count}" for what, count in sorted(soak.told.items()))
    figure(
        f"{SECONDS:.0f} s, a kill every {SECONDS / soak.told['replicas killed']:.2f} s, {lost} replies or commands "
        f"lost; {events}; all runs ended {settled:.1f} s after the last fault"
    )


def require_balanced(stage: Stage, soak: Soak, books: Mapping[Account, Sequence[Entry]], figure: Figure) -> None:
    by_user = {account.user: entries for account, entries in books.items()}
    granted = sum(total(entries, EntryKind.GRANT, EntryKind.ADJUST) for entries in books.values())
    spent = sum(total(entries, EntryKind.SETTLE, EntryKind.LAPSE) for entries in books.values())
    available = sum(entries[-1].balance - entries[-1].held for entries in books.values())
    lapsed = sum(entry.kind is EntryKind.LAPSE for entries in books.values() for entry in entries)
    figure(
        f"{len(books)} accounts: {granted} granted = {available} available + {spent} spent; {len(soak.notes)} answers "
        f"seen to their end, each settled once at its cost; {lapsed} holds lapsed, none is open"
    )
    assert all(entries[-1].held == 0 for entries in books.values())
    assert missing(granted, available, spent) == 0
    keys = {account: f"tokens:{account.tenant}:{account.group}:{account.user}" for account in books}
    assert all(int(stage.store.command("GET", keys[account])) == books[account][-1].balance for account in books)
    assert len({note.run_id for note in soak.notes}) == len(soak.notes)
    for note in soak.notes:
        require_settled_once(note, by_user[note.user])


def require_enough(soak: Soak) -> None:
    """That all this has happened: half as often as it was to, at the least, on a machine that has other things to do.

    Few answers outlive a kill every 0.4 s: one in three seconds that a client saw the end of is enough to go by.
    """
    assert soak.told["replicas killed"] >= SECONDS / (2 * KILL)
    assert soak.told["Redis killed"] >= SECONDS // (3 * FAULT)
    assert len(soak.notes) > SECONDS / 3
