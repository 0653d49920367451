"""How a good answer leaves: as one body, or chunk by chunk with the pause the model's name asks for."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from tests.provider import answers
from tests.provider.answers import Answer
from tests.provider.ask import Ask
from tests.provider.exchange import Exchange, Json
from tests.provider.reply import Reply, chunks, whole

BOUNDS = frozenset({"max_tokens", "max_completion_tokens", "stop", "response_format"})

#: What a model's name stands for: it answers the exchange, well or not.
Behaviour = Callable[[Exchange, Ask], Awaitable[None]]

#: What a behaviour does with a reply once its stream has started.
Stream = Callable[[Exchange, Ask, Reply], Awaitable[None]]


def answering(answer: Answer) -> Behaviour:
    """The behaviour that gives ``answer`` properly, in the form that was asked."""

    async def behave(exchange: Exchange, ask: Ask) -> None:
        await deliver(exchange, ask, answer(ask))

    return behave


def streaming(answer: Answer) -> Callable[[Stream], Behaviour]:
    """A behaviour whose whole answer is plain, and whose stream is what the decorated function sends."""

    def decorate(stream: Stream) -> Behaviour:
        async def behave(exchange: Exchange, ask: Ask) -> None:
            if exchange.streamed:
                await exchange.start()
                await stream(exchange, ask, answer(ask))
            else:
                await deliver_whole(exchange, ask, answer(ask))

        return behave

    return decorate


async def deliver(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    """The proper way, in the form that was asked."""
    if exchange.streamed:
        await exchange.start()
        await deliver_events(exchange, ask, reply)
    else:
        await deliver_whole(exchange, ask, reply)


async def deliver_events(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    """All chunks and [DONE], into a stream that has started."""
    await send_events(exchange, chunks(reply, ask), ask.name.pause)
    await exchange.done()


async def deliver_whole(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    """The whole body, after the time its steps would have taken."""
    await asyncio.sleep(ask.name.pause * len(reply.choices[0].deltas))
    await exchange.json(200, whole(reply, ask))


async def send_events(exchange: Exchange, events: Iterable[object], pause: float) -> None:
    for number, event in enumerate(events):
        if number and pause:
            await asyncio.sleep(pause)
        await exchange.event(event)


def first_words(ask: Ask, count: int) -> Iterator[Json]:
    """The opening of a longer answer in words: chunks up to and with its ``count``-th word."""
    return islice(chunks(longer(ask, count), ask), ask.n * (count + 1))


def longer(ask: Ask, count: int) -> Reply:
    """An answer five words longer than ``count`` whatever bounds were asked: a fault comes where its name says."""
    body = {key: value for key, value in ask.body.items() if key not in BOUNDS}
    return answers.text_reply(answers.numbered(count + 5), replace(ask, body=body))
