"""Calls that somebody gives up, at any moment: the provider is told at once, and the next calls are none the worse."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import httpx
import pytest

from adapters.openai.pool import PoolLimits
from adapters.openai.provider import OpenAIProvider
from adapters.openai.transport import PooledTransport
from domain.errors import ProviderError
from domain.ports import Call
from tests.adapters.openai.asking import Form, answer, both_forms, call_to
from tests.adapters.openai.servers import open_files, response, until
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


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Fickle(asyncio.Protocol):
    """Answers each request at once, in two steps, in part, or not at all."""

    moments = random.Random(11)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's are none of asyncio's

    def data_received(self, data: bytes) -> None:
        turn = self.moments.random()
        if turn < 0.5:
            self.transport.write(response(b"{}"))
        elif turn < 0.9:
            self.transport.write(CHUNKED + b"5\r\nhello\r\n")
            asyncio.get_running_loop().call_soon(self.transport.write, b"0\r\n\r\n")
        elif turn < 0.95:
            self.transport.write(CHUNKED + b"5\r\nhel")
            self.transport.close()


#: How often a request is given up in the test below; 100,000 take about a minute.
CANCELLATIONS = int(os.environ.get("CANCELLATIONS", "2000"))


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_whatever_is_cancelled_sockets_tasks_and_places_are_as_before() -> None:
    loop, moments = asyncio.get_running_loop(), random.Random(5)
    server = await loop.create_server(Fickle, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    transport = PooledTransport(PoolLimits(connections=CONNECTIONS))
    answered = 0

    async def ask_once() -> bytes:
        answer = await transport.handle_async_request(httpx.Request("POST", origin, content=b"{}"))
        try:
            return await answer.aread()
        finally:
            await answer.aclose()

    async def worker(turns: int) -> None:
        nonlocal answered
        for _ in range(turns):
            task = asyncio.create_task(ask_once())
            for _ in range(moments.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            [said] = await asyncio.gather(task, return_exceptions=True)
            answered += isinstance(said, bytes)

    files, tasks = open_files(), len(asyncio.all_tasks())
    await asyncio.gather(*(worker(CANCELLATIONS // 20) for _ in range(20)))

    assert CANCELLATIONS / 20 < answered < CANCELLATIONS
    assert transport.connections <= CONNECTIONS
    await transport.aclose()
    assert transport.connections == 0
    await until(lambda: open_files() == files)
    assert len(asyncio.all_tasks()) == tasks
    server.close()
