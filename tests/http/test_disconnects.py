"""A client that leaves undoes nothing: the run goes on, is paid for and can be fetched."""

import asyncio

import pytest

from entrypoints.http import sse
from tests.http.log import Log
from tests.http.member import Member
from tests.http.surfaces import GROUP, SURFACES, TENANT, Surface
from tests.http.waiting import until
from tests.http.wire import asking
from tests.provider.process import ProviderProcess


async def completed(member: Member, surface: Surface, run_id: str) -> None:
    async def met() -> bool:
        return bool((await member.fetch(surface, run_id)).json()["status"] == "completed")

    await until(met)


async def served(log: Log) -> None:
    async def met() -> bool:
        return bool(log.of("Request served"))

    await until(met)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_stream_whose_reader_left_is_finished_and_paid_for(member: Member, surface: Surface) -> None:
    member.replica.set_balance(member.tenant, 1_000)
    async with asking(member, surface, model="words-n5-i20", stream=True) as wire:
        head = await wire.read_head()
        await wire.read_until(b"w0")
        wire.leave()
    run_id = head.split(b"X-Completion-Id: ")[1].split(b"\r\n")[0].decode()

    await completed(member, surface, run_id)

    answer = await member.fetch(surface, run_id)
    assert answer.json()["choices"][0]["message"]["content"] == "w0 w1 w2 w3 w4"
    assert await member.replica.available(member.tenant) == 1_000 - int(answer.headers["x-sluice-charged-tokens"])


async def test_a_whole_answer_that_nobody_waited_for_is_finished_and_paid_for(
    member: Member, provider: ProviderProcess, json_log: Log
) -> None:
    async with asking(member, TENANT, model="slow-100", conversation_id="talk") as wire:
        await provider.seen_when(lambda seen: len(seen) == 1)
        wire.leave()
    await served(json_log)

    await completed(member, TENANT, "talk")

    answer = await member.fetch(TENANT, "talk")
    assert answer.json()["choices"][0]["message"]["content"] == "Hello, who are you?"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_left_is_one_access_line_and_no_error(
    member: Member, provider: ProviderProcess, json_log: Log, stream: bool
) -> None:
    async with asking(member, TENANT, model="words-n3-i50", stream=stream, conversation_id="talk") as wire:
        await provider.seen_when(lambda seen: len(seen) == 1)
        wire.leave()
    await served(json_log)
    lines = [line for line in json_log.of("Request served") if line["method"] == "POST"]

    await completed(member, TENANT, "talk")

    assert [line["status_code"] for line in lines] == [499] or stream
    assert len([line for line in json_log.of("Request served") if line["method"] == "POST"]) == 1
    assert not [line for line in json_log.records if line["level"] in ("WARNING", "ERROR")]


async def test_a_job_needs_nobody_to_wait_for_it(member: Member) -> None:
    job = await member.post(GROUP)

    await completed(member, GROUP, job.headers["x-completion-id"])


async def test_a_stream_that_we_fail_to_write_is_cut_and_not_ended(
    member: Member, json_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(sse.Frames, "ending", break_down)

    async with asking(member, TENANT, stream=True) as wire:
        # A body that ended well would be taken for a whole answer.
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await wire.read_response()

    assert json_log.of("Unexpected error")[0]["error"] == "ZeroDivisionError"
