"""Calls that somebody gives up, at any moment: the provider is told at once, and the next calls are none the worse."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from adapters.openai.provider import OpenAIProvider
from adapters.openai.transport import PooledTransport, PoolLimits
from domain.errors import ProviderError
from domain.ports import Call
from tests.adapters.openai.asking import Form, answer, both_forms, call_to
from tests.provider.exchange import Seen
from tests.provider.process import ProviderProcess

pytestmark = pytest.mark.anyio

CONNECTIONS = 8


@pytest.fixture
async def narrow() -> AsyncIterator[OpenAIProvider]:
    """The adapter with so few connections that it stands still when it loses some."""
    provider = OpenAIProvider(PooledTransport(PoolLimits(connections=CONNECTIONS)))
    yield provider
    await provider.aclose()


def all_ended(requests: Sequence[Seen]) -> bool:
    return all(seen.ended_at is not None for seen in requests)


async def ask(provider: OpenAIProvider, call: Call, form: Form) -> str | None:
    """What the answer says; None where there is none."""
    try:
        completion = await answer(provider, call, form)
    except ProviderError:
        return None
    content: str = completion.choices[0]["message"]["content"]
    return content


async def test_closing_a_stream_early_ends_it_at_the_provider(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    async with aclosing(provider.stream_chat_completion(call_to(scripted, "words-n2000-i10"))) as batches:
        await anext(batches)

    [seen] = await scripted.seen_when(all_ended, deadline=4.0)
    assert seen.disconnected
    assert seen.events < 1000


@both_forms
@pytest.mark.parametrize("model", ["hang", "drip-headers-i10", "stall-n3", "trickle-i10"])
async def test_a_call_that_is_cancelled_ends_at_the_provider(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    task = asyncio.create_task(ask(provider, call_to(scripted, model), form))
    await scripted.seen_when(lambda requests: len(requests) == 1)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    [seen] = await scripted.seen_when(all_ended, deadline=4.0)
    assert seen.disconnected


async def test_a_call_that_is_cancelled_before_it_began_is_never_sent(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    task = asyncio.create_task(ask(provider, call_to(scripted), "whole"))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert scripted.requests() == []


@pytest.mark.parametrize("seed", range(3))
async def test_after_hundreds_of_cancellations_every_call_is_answered(
    scripted: ProviderProcess, narrow: OpenAIProvider, seed: int
) -> None:
    moments = random.Random(seed)
    models = [
        "echo",
        "words-n50-i2",
        "slow-20",
        "hang",
        "stall-n2",
        "trickle-i5",
        "drip-headers-i2",
        "reset-mid",
        "usage-none",
    ]

    async def give_up(model: str, form: Form) -> None:
        task = asyncio.create_task(ask(narrow, call_to(scripted, model), form))
        await asyncio.sleep(moments.uniform(0, 0.04))
        task.cancel()
        if moments.random() < 0.5:
            # A second cancellation that meets the first one's cleaning up: what httpx's own transport does not survive.
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def worker() -> None:
        for _ in range(20):
            await give_up(moments.choice(models), moments.choice(("whole", "stream")))

    await asyncio.gather(*(worker() for _ in range(10)))
    requests = await scripted.seen_when(all_ended, deadline=4.0)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(ask(narrow, call_to(scripted, "words-n5"), "stream" if number % 2 else "whole") for number in range(50))
        )

    assert len(requests) > 50
    assert set(answers) == {"w0 w1 w2 w3 w4"}
    assert len({seen.connection for seen in scripted.requests()[-50:]}) <= CONNECTIONS


async def test_nobody_reads_anothers_answer_whatever_is_cancelled(
    scripted: ProviderProcess, narrow: OpenAIProvider
) -> None:
    moments = random.Random(7)
    answered = 0

    async def worker(name: str) -> None:
        nonlocal answered
        for turn in range(30):
            own = f"{name} {turn}"
            call = call_to(scripted, messages=[{"role": "user", "content": own}])
            task = asyncio.create_task(ask(narrow, call, moments.choice(("whole", "stream"))))
            if moments.random() < 0.5:
                asyncio.get_running_loop().call_later(moments.uniform(0, 0.01), task.cancel)
            said = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(said, BaseException):
                assert said == own
                answered += 1

    await asyncio.gather(*(worker(f"worker {number}") for number in range(10)))

    assert answered > 100


async def test_an_error_leaves_its_connection_to_others(scripted: ProviderProcess, narrow: OpenAIProvider) -> None:
    broken = ["reset", "close", "cut-mid", "reset-mid", "end-mid", "bad-event-n1", "error-event-n1", "garbage-stream"]
    models = [*broken, "html-200", "gzip-bomb-n2", "status-500", "many-headers", "no-choices", "huge-line-n2"]

    for _ in range(CONNECTIONS + 1):
        await asyncio.gather(*(ask(narrow, call_to(scripted, model), "stream") for model in models))

    assert await ask(narrow, call_to(scripted), "stream") == "hello wide world"
    assert all_ended(await scripted.seen_when(all_ended, deadline=4.0))
