"""How long a client waits, as OpenAI's clients say with each request, bounds what a provider is given."""

from collections.abc import AsyncIterator

import pytest

from entrypoints.http.headers import read_timeout
from tests.http.failing import Failing, failing
from tests.http.surfaces import TENANT
from tests.http.told import as_openai
from tests.provider.process import ProviderProcess

WAITS = {"X-Stainless-Read-Timeout": "0.4"}


@pytest.fixture(scope="module")
async def started(process: ProviderProcess) -> AsyncIterator[Failing]:
    async with failing(process, "hang", "stall-n3", "slow-100", "status-503-rams300") as started:
        yield started


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("600", 599.0), ("600.0", 599.0), ("10", 9.5), ("0.4", pytest.approx(0.38)), ("0", None), ("-1", None),
     ("NaN", None), ("inf", None), ("1e3", None), ("", None), ("ten", None), ("9" * 30, None)],
)  # fmt: skip
def test_what_is_no_number_of_seconds_bounds_nothing(given: str, seconds: object) -> None:
    assert read_timeout({"x-stainless-read-timeout": given}) == seconds


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_is_told_before_it_gives_up(started: Failing, stream: bool) -> None:
    member = await started.member("hang")

    answer = await member.post(TENANT, headers=WAITS, stream=stream)

    assert as_openai(answer).code == "upstream_timeout"


async def test_a_silence_within_a_stream_is_bounded_too(started: Failing) -> None:
    member = await started.member("stall-n3")

    answer = await member.post(TENANT, headers=WAITS, stream=True)

    assert b"upstream_timeout" in answer.content
    assert b"[DONE]" not in answer.content


async def test_pauses_count_and_a_retry_that_would_come_too_late_is_not_made(
    started: Failing, provider: ProviderProcess
) -> None:
    member = await started.member("status-503-rams300")

    await member.post(TENANT, headers=WAITS)

    assert len(started.seen("status-503-rams300")) <= 2


async def test_who_waits_long_enough_gets_the_answer(started: Failing) -> None:
    member = await started.member("slow-100")

    assert (await member.post(TENANT, headers={"X-Stainless-Read-Timeout": "30"})).status_code == 200


async def test_a_job_waits_for_nobody(started: Failing) -> None:
    member = await started.member("slow-100")

    headers = {"X-Stainless-Read-Timeout": "0.05", "Prefer": "respond-async, wait=10"}
    assert (await member.post(TENANT, headers=headers)).status_code == 200
