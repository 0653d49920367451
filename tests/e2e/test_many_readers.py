"""Many readers of one run, on two replicas, who leave and come back: each gets all of it, and Redis hardly notices."""

import asyncio
import random
from dataclasses import dataclass

import pytest

from tests.e2e.client import Answer, complete, follow, joined, last_id, normal, text_of
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage, Store
from tests.gateway import GatewayProcess
from tests.redis_server import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

DONE = b"data: [DONE]\n\n"


async def reference(gateway: GatewayProcess, model: str) -> bytes:
    return normal(await (await complete(gateway, model, stream=True)).rest())


# --- a thousand -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """What Redis did for one append: seconds of CPU, commands; and how many connections it had meanwhile."""

    cpu_ms: float
    commands: float
    connections: int


def appends(store: Store) -> int:
    return int(calls_of(store).get("xadd", 0))


def calls_of(store: Store) -> dict[str, int]:
    stats = store.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(counted["calls"]) for name, counted in stats.items()}


def cpu_ms(store: Store) -> float:
    used = store.info("cpu")
    return 1000 * (float(used["used_cpu_user"]) + float(used["used_cpu_sys"]))


async def measure(store: Store, count: int) -> Load:
    """The load while so many entries are appended."""
    cpu, commands, first = cpu_ms(store), sum(calls_of(store).values()), appends(store)
    await asyncio.to_thread(wait_until, lambda: appends(store) >= first + count, "appends", 60)
    made = appends(store) - first
    connections = int(store.info("clients")["connected_clients"])
    return Load((cpu_ms(store) - cpu) / made, (sum(calls_of(store).values()) - commands) / made, connections)


async def attach(replicas: tuple[GatewayProcess, ...], run_id: str, count: int) -> list[Answer]:
    # As many at once whatever the count, so that only their number differs.
    room = asyncio.Semaphore(10)

    async def one(number: int) -> Answer:
        async with room:
            return await follow(replicas[number % 2], run_id)

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def read_with_drops(
    replicas: tuple[GatewayProcess, ...], answer: Answer, number: int, may_drop: asyncio.Event
) -> tuple[bytes, int]:
    """The transcript of a reader who leaves at random places and goes on at the other replica; and how often it did."""
    chance = random.Random(number)
    parts, drops, run_id = [], 0, answer.run_id
    while True:
        await may_drop.wait()
        if drops < 3:
            await answer.until_bytes(len(answer.body) + chance.randrange(1, 4000))
        else:
            await answer.rest()
        if answer.ended:
            answer.leave()
            parts.append(answer.body)
            return joined(*parts), drops
        answer.leave()
        parts.append(answer.body)
        drops += 1
        answer = await come_back(replicas[(number + drops) % 2], run_id, last_id(joined(*parts)))


async def come_back(replica: GatewayProcess, run_id: str, after: str | None) -> Answer:
    """The stream from there on. Where a thousand come back at once, some are asked to come again."""
    while (answer := await follow(replica, run_id, after)).status == 503:
        assert "retry-after" in answer.headers
        answer.leave()
        asked_again.append(run_id)
        await asyncio.sleep(0.2)
    # Who has lost nothing but the end of the body is told that there is nothing more.
    assert answer.status in (200, 204), await answer.rest()
    return answer


asked_again: list[str] = []


async def test_a_thousand_readers_who_come_and_go_are_exact_and_cost_redis_nothing(
    stage: Stage, figure: Figure
) -> None:
    replicas = stage.serve_two(SLUICE_LEASE_SECONDS="10")
    loads, transcripts, drops = {}, [], 0

    for count in (10, 1000):
        first = await complete(replicas[0], "words-n160-i50", stream=True)
        answers = await attach(replicas, first.run_id, count)
        may_drop = asyncio.Event()
        readers = [
            asyncio.create_task(read_with_drops(replicas, answer, number, may_drop))
            for number, answer in enumerate(answers)
        ]
        loads[count] = await measure(stage.store, 40)
        may_drop.set()
        for transcript, dropped in await asyncio.gather(*readers):
            transcripts.append(normal(transcript))
            drops += dropped
        assert (await first.rest()).endswith(DONE)

    figure(
        f"1,010 readers, {drops} drops and resumes on the other replica, all exact; {len(asked_again)} had to ask twice"
    )
    for count, load in loads.items():
        figure(
            f"{count} readers: {load.cpu_ms:.2f} ms of Redis CPU and {load.commands:.1f} commands per append, "
            f"{load.connections} Redis connections"
        )
    assert set(transcripts) == {await reference(replicas[0], "words-n160")}
    assert drops > 1000
    # Apart from some noise, it is the same.
    assert loads[1000].commands < 1.5 * loads[10].commands + 2
    assert loads[1000].connections <= loads[10].connections + 20


async def test_fifty_readers_who_come_and_go_on_a_cluster_are_exact(either_stage: Stage) -> None:
    replicas = either_stage.serve_two()
    first = await complete(replicas[0], "words-n100-i20", stream=True)
    may_drop = asyncio.Event()
    may_drop.set()

    answers = await attach(replicas, first.run_id, 50)
    read = await asyncio.gather(
        *(read_with_drops(replicas, answer, number, may_drop) for number, answer in enumerate(answers))
    )

    assert {normal(transcript) for transcript, _ in read} == {await reference(replicas[0], "words-n100")}
    assert sum(drops for _, drops in read) > 50


# --- every place ------------------------------------------------------------------------------------------------------


async def test_dropped_behind_any_event_and_resumed_elsewhere_the_rest_is_exact(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two()
    live = await complete(here, "words-n20-i50", stream=True)
    count = 0

    async def drop_behind(place: int) -> bytes:
        reader = await follow(here, live.run_id)
        await reader.until_events(place)
        # It may have heard more at once; what it uses is what it asks to go on from.
        seen = b"\n\n".join(reader.body.split(b"\n\n")[:place]) + b"\n\n"
        reader.leave()
        rest = await follow(there, live.run_id, last_id(seen))
        return joined(seen, await rest.rest())

    whole = await reference(there, "words-n20")
    while_running = await asyncio.gather(*(drop_behind(place) for place in range(1, 23)))
    afterwards = await asyncio.gather(*(drop_behind(place) for place in range(1, 23)))

    for transcript in (*while_running, *afterwards):
        count += 1
        assert normal(transcript) == whole
    figure(f"dropped behind each of 22 events, in mid-stream and afterwards: {count} exact")


async def test_cut_inside_an_event_at_any_byte_the_rest_is_exact(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two()
    live = await complete(here, "words-n6-i20", stream=True)
    body = await live.rest()
    places = sorted({*range(1, len(body), 7), *range(len(body) - 60, len(body))})
    room = asyncio.Semaphore(20)

    async def cut_at(place: int) -> bytes:
        async with room:
            heard = body[:place]
            rest = await follow(there, live.run_id, last_id(heard))
            return joined(heard, await rest.rest())

    transcripts = await asyncio.gather(*(cut_at(place) for place in places))

    assert set(transcripts) == {body}
    figure(f"cut at {len(places)} of {len(body)} bytes: {len(transcripts)} exact")


async def test_a_slow_reader_holds_up_nobody_and_has_everything_in_the_end(stage: Stage, figure: Figure) -> None:
    here, there = stage.serve_two()
    live = await complete(here, "words-n4000-i1", stream=True)
    fast = await asyncio.gather(*(follow(there, live.run_id) for _ in range(5)))
    # It takes nothing: what the kernel holds for it fills up, and then the replica waits for it alone.
    slow = await follow(there, live.run_id)
    await slow.until_events(1)

    bodies = await asyncio.gather(live.rest(), *(reader.rest() for reader in fast))
    behind = len(bodies[0]) - len(slow.body)
    late = max(reader.ended_at for reader in fast) - live.ended_at

    assert set(bodies) == {bodies[0]}
    assert text_of(bodies[0]).endswith("w3999")
    assert behind > 500_000
    assert await slow.rest() == bodies[0]
    figure(
        f"fast readers beside a slow one were {late:.2f} s behind the first, it {behind} bytes, and exact in the end"
    )
