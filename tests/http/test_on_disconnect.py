"""What becomes of a run that nobody reads any more: it goes on, or, where the tenant says so, it is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.completions import keeping
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.waiting import until
from tests.http.wire import Wire, asking
from tests.provider.process import ProviderProcess

#: It says something and then nothing, so that only a cancel ends it.
STALLED: dict[str, Any] = {"model": "stall-n2", "stream": True}


#: Seconds that a run goes on without a reader, and rounds in which that has passed and was noticed.
GRACE = 0.1
ROUNDS = 12


@pytest.fixture(scope="module")
async def replica(process: ProviderProcess) -> AsyncIterator[Replica]:
    """A replica that looks after its runs all the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keeping, "_ROUND", 0.02)
        patched.setattr(keeping, "_JITTER", 0.0)
        async with running(process) as started:
            yield started


@pytest.fixture
async def hasty(replica: Replica) -> Member:
    """A member of a tenant that does not pay for what nobody reads."""
    return Member(replica, await replica.add_tenant(on_disconnect="cancel", detach_grace=GRACE))


async def reading(wire: Wire) -> str:
    """The run, once its stream has said what it will."""
    await wire.read_head()
    await wire.read_until(b"w1")
    return wire.run_id


async def status_becomes(member: Member, surface: Surface, run_id: str, status: str) -> None:
    async def met() -> bool:
        return bool((await member.fetch(surface, run_id)).json()["status"] == status)

    await until(met)


async def rounds(member: Member, count: int = ROUNDS) -> None:
    """Until the replica has looked after its runs so many times more."""
    store: Any = member.replica.container.run_store()
    seen = 0
    original = store.enlist

    async def count_rounds(worker: str, slots: int, seconds: float) -> int:
        nonlocal seen
        seen += 1
        enlisted: int = await original(worker, slots, seconds)
        return enlisted

    async def met() -> bool:
        return seen >= count

    store.enlist = count_rounds
    try:
        await until(met)
    finally:
        del store.enlist


# --- cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_that_nobody_reads_any_more_is_cancelled_upstream_and_settled(
    hasty: Member, provider: ProviderProcess, json_log: Log, surface: Surface
) -> None:
    hasty.replica.set_balance(hasty.tenant, 1_000)
    async with asking(hasty, surface, **STALLED) as wire:
        run_id = await reading(wire)
        wire.leave()

    await provider.seen_when(lambda seen: seen[0].disconnected)
    await status_becomes(hasty, surface, run_id, "cancelled")

    state = await hasty.fetch(surface, run_id)
    charged = int(state.headers["x-sluice-charged-tokens"])
    assert charged > 13
    assert await hasty.replica.available(hasty.tenant) == 1_000 - charged
    assert [line["run_id"] for line in json_log.of("Run cancelled")] == [run_id]


@pytest.mark.parametrize("surface", [TENANT, PROVIDER], ids=str)
async def test_a_whole_answer_that_nobody_waits_for_any_more_is_cancelled(
    hasty: Member, provider: ProviderProcess, json_log: Log, surface: Surface
) -> None:
    hasty.replica.set_balance(hasty.tenant, 1_000)
    async with asking(hasty, surface, model="hang") as wire:
        await provider.seen_when(lambda seen: len(seen) == 1)
        wire.leave()

    await provider.seen_when(lambda seen: seen[0].disconnected)

    async def settled() -> bool:
        return await hasty.replica.available(hasty.tenant) == 1_000

    await until(settled)
    assert json_log.of("Run cancelled")[0]["charged_tokens"] == 0


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_who_comes_back_too_late_finds_what_was_said_and_that_it_was_cancelled(
    hasty: Member, surface: Surface
) -> None:
    async with asking(hasty, surface, **STALLED) as wire:
        run_id = await reading(wire)
        wire.leave()
    await status_becomes(hasty, surface, run_id, "cancelled")

    again = await hasty.fetch(surface, run_id, stream="true")

    assert again.content.startswith(wire.body)
    assert b'"code":"completion_cancelled"' in again.content.rpartition(b"data: ")[2]


# --- a reader is enough -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_it_goes_on_while_anybody_reads_it(hasty: Member, provider: ProviderProcess, surface: Surface) -> None:
    async with asking(hasty, surface, **STALLED) as wire:
        run_id = await reading(wire)
        address = f"{surface.path(hasty.tenant)}/{run_id}?stream=true"
        async with hasty.replica.client.stream("GET", address, headers=hasty.headers(surface)) as second:
            wire.leave()

            await rounds(hasty)

            assert not provider.requests()[0].disconnected
            assert (await hasty.fetch(surface, run_id)).json()["status"] == "in_progress"
            await hasty.cancel(surface, run_id)
            assert (await second.aread()).startswith(wire.body)


async def test_who_waits_for_the_state_is_a_reader(hasty: Member, provider: ProviderProcess) -> None:
    async with asking(hasty, TENANT, **STALLED) as wire:
        run_id = await reading(wire)
        waiting = asyncio.ensure_future(hasty.fetch(TENANT, run_id, headers={"Prefer": "wait=10"}))
        await hasty.fetch(TENANT, run_id)
        wire.leave()

        await rounds(hasty)

        assert not provider.requests()[0].disconnected
        await hasty.cancel(TENANT, run_id)
        assert (await waiting).json()["status"] == "cancelled"


@pytest.mark.parametrize("surface", [GROUP, TENANT], ids=str)
async def test_who_shares_the_answer_is_a_reader(hasty: Member, provider: ProviderProcess, surface: Surface) -> None:
    shared = {**STALLED, "cache_key": "k"}
    async with asking(hasty, surface, **shared) as first, asking(hasty, surface, **shared) as second:
        run_id = await reading(first)
        await reading(second)
        first.leave()

        await rounds(hasty)

        assert not provider.requests()[0].disconnected
        assert (await hasty.fetch(surface, run_id)).json()["status"] == "in_progress"


async def test_a_job_that_shares_the_answer_needs_no_reader(hasty: Member, provider: ProviderProcess) -> None:
    async with asking(hasty, GROUP, **STALLED, cache_key="k") as wire:
        run_id = await reading(wire)
        job = await hasty.post(GROUP, model="stall-n2", cache_key="k")
        wire.leave()

        await rounds(hasty)

        assert job.headers["x-cache"] == "shared"
        assert not provider.requests()[0].disconnected
        assert (await hasty.fetch(GROUP, run_id)).json()["status"] == "in_progress"


async def test_who_reads_on_another_replica_is_a_reader(hasty: Member, provider: ProviderProcess) -> None:
    async with asking(hasty, TENANT, **STALLED) as wire:
        run_id = await reading(wire)
        # As the other replica notes it in the store that they share.
        await hasty.replica.container.run_store().attend(run_id, 60.0)
        wire.leave()

        await rounds(hasty)

        assert not provider.requests()[0].disconnected


async def test_a_job_needs_no_reader(hasty: Member, provider: ProviderProcess) -> None:
    job = await hasty.post(GROUP, model="stall-n2")
    await provider.seen_when(lambda seen: len(seen) == 1 and seen[0].events == 3)

    await rounds(hasty)

    assert not provider.requests()[0].disconnected
    assert (await hasty.fetch(GROUP, job.json()["id"])).json()["status"] == "in_progress"


# --- finish, and a longer grace ---------------------------------------------------------------------------------------


@pytest.fixture(params=[{}, {"on_disconnect": "finish", "detach_grace": 0}, {"on_disconnect": "cancel"}], ids=str)
async def patient(request: pytest.FixtureRequest, replica: Replica) -> Member:
    """A member of a tenant that pays for all of it, or gives ten seconds to come back."""
    return Member(replica, await replica.add_tenant(**request.param))


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_otherwise_it_goes_on(patient: Member, provider: ProviderProcess, surface: Surface) -> None:
    async with asking(patient, surface, **STALLED) as wire:
        run_id = await reading(wire)
        wire.leave()

    await rounds(patient)

    assert not provider.requests()[0].disconnected
    assert (await patient.fetch(surface, run_id)).json()["status"] == "in_progress"


async def test_who_comes_back_in_time_reads_on(patient: Member, provider: ProviderProcess) -> None:
    async with asking(patient, TENANT, model="words-n6-i50", stream=True) as wire:
        run_id = await reading(wire)
        wire.leave()

    again = await patient.fetch(TENANT, run_id, stream="true")

    assert again.content.endswith(b"data: [DONE]\n\n")
    assert len(provider.requests()) == 1
