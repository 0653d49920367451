"""A stream that breaks off after 40 of 60 tokens, over real sockets: the whole answer where that is honest, else one
error, and never [DONE] behind a cut."""

from collections.abc import AsyncIterator

import pytest

from tests.http.failing import Failing, failing
from tests.http.surfaces import TENANT
from tests.provider.process import ProviderProcess

WORDS = [f"w{number}" for number in range(60)]
#: Every way to break off after 40 words, and the code that it is told with.
CUTS = {
    "cut-mid-n40": "upstream_truncated",
    "reset-mid-n40": "upstream_truncated",
    "end-mid-n40": "upstream_truncated",
    "error-event-n40": "provider_error",
    "stall-n40": "upstream_timeout",
}


@pytest.fixture(scope="module")
async def started(process: ProviderProcess) -> AsyncIterator[Failing]:
    others = ("words-n60", "prefill-n60", "words-n1", "echo", "status-503", "cut-mid-n50")
    async with failing(process, *CUTS, *others, idle_seconds=0.4) as started:
        yield started


@pytest.fixture
def faulty(started: Failing, provider: ProviderProcess) -> Failing:
    """Nothing is remembered of earlier tests."""
    return started


@pytest.mark.parametrize("other", ["words-n60", "prefill-n60"], ids=["repeat", "prefill"])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_stream_that_breaks_off_goes_on_as_if_nothing_had_happened(
    faulty: Failing, cut: str, other: str
) -> None:
    member = await faulty.member(cut, other)

    stream = await member.stream(TENANT, stream_options={"include_usage": True})

    assert (stream.text().split(), stream.is_done) == (WORDS, True)
    assert [frame.number for frame in stream.frames] == [*range(1, len(stream.frames) + 1)]
    assert sum("role" in delta for delta in stream.deltas()) == 1
    state = await member.fetch(TENANT, stream.run_id)
    assert state.json()["choices"][0]["message"]["content"] == " ".join(WORDS)
    assert (state.headers["x-sluice-provider"], state.headers["x-sluice-attempts"]) == (f"at-{other}", "2")
    # Four words asked and sixty said, once, whoever said them.
    assert stream.chunks[-1]["usage"]["total_tokens"] == 64
    assert await faulty.charged(member) == 64 == int(state.headers["x-sluice-charged-tokens"])
    # What was billed twice, the caller does not pay.
    assert (len(faulty.seen(cut)), len(faulty.seen(other))) == (1, 1)


async def test_who_takes_the_beginning_is_asked_for_the_rest_only(faulty: Failing) -> None:
    member = await faulty.member("cut-mid-n40", "words-n60", "prefill-n60")

    await member.stream(TENANT, max_tokens=100)

    (rest,) = faulty.seen("prefill-n60")
    assert rest.body["messages"][-1] == {"role": "assistant", "content": " ".join(WORDS[:40]) + " "}
    assert 0 < rest.body["max_tokens"] < 60
    assert faulty.seen("words-n60") == []


async def test_an_answer_that_breaks_off_twice_is_whole_all_the_same(faulty: Failing) -> None:
    member = await faulty.member("cut-mid-n40", "cut-mid-n50", "words-n60")

    stream = await member.stream(TENANT)

    assert (stream.text().split(), stream.is_done) == (WORDS, True)
    assert (await member.fetch(TENANT, stream.run_id)).headers["x-sluice-attempts"] == "3"


@pytest.mark.parametrize("others", [("echo",), ("words-n1",), ("status-503",), ()], ids=str)
@pytest.mark.parametrize("cut", CUTS)
async def test_where_nobody_can_go_on_there_is_one_error_and_no_done(
    faulty: Failing, cut: str, others: tuple[str, ...]
) -> None:
    member = await faulty.member(cut, *others)

    stream = await member.stream(TENANT)

    said = stream.text().split()
    # A reset throws away what was not read yet.
    assert said == WORDS[: len(said)]
    assert len(said) == 40 or cut.startswith("reset")
    assert sum("error" in frame.json for frame in stream.frames) == 1
    assert stream.error["code"] == CUTS[cut]
    assert "[DONE]" not in stream.response.text
    charged = int((await member.fetch(TENANT, stream.run_id)).headers["x-sluice-charged-tokens"])
    assert len(said) < charged == await faulty.charged(member)


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}], ids=str)
async def test_what_cannot_be_gone_on_with_is_one_error(faulty: Failing, fields: dict[str, object]) -> None:
    member = await faulty.member("cut-mid-n40", "words-n60", "prefill-n60")

    stream = await member.stream(TENANT, **fields)

    assert stream.error["code"] == "upstream_truncated"
    assert (faulty.seen("words-n60"), faulty.seen("prefill-n60")) == ([], [])


async def test_a_reader_who_comes_back_gets_exactly_the_rest_of_what_was_gone_on_with(faulty: Failing) -> None:
    member = await faulty.member("cut-mid-n40", "prefill-n60")
    whole = await member.stream(TENANT)

    again = await member.fetch(TENANT, whole.run_id, stream="true", starting_after="39")

    assert again.content.endswith(b"".join(frame.wire for frame in whole.frames[39:]).removeprefix(b"retry: 2000\n"))
