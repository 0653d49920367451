"""Misbehaviour below the answer: connections that break, stall or never end, and content that does not parse."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

import orjson

from tests.provider import wire
from tests.provider.answers import echo, text_reply
from tests.provider.ask import Ask
from tests.provider.delivery import Behaviour, deliver_events, deliver_whole, first_words, longer, send_events
from tests.provider.exchange import EVENTS, JSON, Exchange, forever
from tests.provider.refusals import error_body
from tests.provider.reply import Reply, chunks, whole

MEGABYTE = 1 << 20
DEFAULT_WORDS = 3


async def hang(exchange: Exchange, ask: Ask) -> None:
    await forever()


async def close(exchange: Exchange, ask: Ask) -> None:
    exchange.hang_up()


async def reset(exchange: Exchange, ask: Ask) -> None:
    exchange.reset()


async def drip_headers(exchange: Exchange, ask: Ask) -> None:
    """A byte of the head at a time: every read succeeds, so only a deadline over the whole head ends it."""
    for byte in wire.head(200, [("content-type", JSON), *((f"x-filler-{n}", "x" * 60) for n in range(50))]):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(ask.name.number("i", 1000) / 1000)
    await forever()


async def interim(exchange: Exchange, ask: Ask) -> None:
    while True:
        await exchange.send(wire.head(103, [("link", "</style.css>; rel=preload")]))
        await asyncio.sleep(ask.name.number("i", 100) / 1000)


async def many_headers(exchange: Exchange, ask: Ask) -> None:
    exchange.extra_headers += [(f"x-filler-{number}", "x" * 1000) for number in range(300)]
    await deliver_whole(exchange, ask, echo(ask))


async def trickle(exchange: Exchange, ask: Ask) -> None:
    """Signs of life without an answer: only a deadline since the last event ends it."""
    await exchange.start(EVENTS if exchange.streamed else JSON)
    while True:
        await exchange.chunk(b": still working\n\n" if exchange.streamed else b" ")
        await asyncio.sleep(ask.name.number("i", 100) / 1000)


#: How an answer that broke off ends.
Ending = Callable[[Exchange], Awaitable[None]]


async def silence(exchange: Exchange) -> None:
    await forever()


async def rst(exchange: Exchange) -> None:
    exchange.reset()


async def fin(exchange: Exchange) -> None:
    exchange.hang_up()


async def clean_end(exchange: Exchange) -> None:
    await exchange.finish()


async def error_event(exchange: Exchange) -> None:
    await exchange.event(error_body("The server had an error while processing your request.", "server_error"))
    await exchange.finish()


def breaking_off(ending: Ending) -> Behaviour:
    """Some words of a stream, or half of a whole body, and then ``ending``."""

    async def behave(exchange: Exchange, ask: Ask) -> None:
        count = ask.name.number("n", DEFAULT_WORDS)
        if exchange.streamed:
            await exchange.start()
            await send_events(exchange, first_words(ask, count), ask.name.pause)
        else:
            body = orjson.dumps(whole(longer(ask, count), ask))
            await exchange.start(JSON)
            await exchange.chunk(body[: len(body) // 2])
        await ending(exchange)

    return behave


async def error_event_mid(exchange: Exchange, ask: Ask) -> None:
    """Nothing like an event exists in a whole answer, which is an error from the start there."""
    if exchange.streamed:
        await breaking_off(error_event)(exchange, ask)
    else:
        await exchange.json(500, error_body("Scripted error.", "server_error"))


async def bad_event(exchange: Exchange, ask: Ask) -> None:
    count = ask.name.number("n", DEFAULT_WORDS)
    reply = longer(ask, count)
    if exchange.streamed:
        events: list[object] = list(chunks(reply, ask))
        events.insert(ask.n * (count + 1), '{"id": "chatcmpl-broken", "choices": [{"delta": {"content": "lo')
        await exchange.start()
        await send_events(exchange, events, ask.name.pause)
        await exchange.done()
    else:
        await exchange.respond(200, orjson.dumps(whole(reply, ask)).replace(b":", b"", 1))


async def garbage_stream(exchange: Exchange, ask: Ask) -> None:
    noise = random.Random(0).randbytes(4096)
    await exchange.start()
    await exchange.chunk(noise)
    await exchange.finish()


async def huge_line(exchange: Exchange, ask: Ask) -> None:
    await exchange.start(EVENTS if exchange.streamed else JSON)
    await exchange.chunk(b'data: {"x": "' if exchange.streamed else b'{"x": "')
    for _ in range(ask.name.number("n", 300)):
        await exchange.chunk(b"x" * MEGABYTE)
    await exchange.finish()


async def gzip_bomb(exchange: Exchange, ask: Ask) -> None:
    """A valid answer, a thousand times larger than its bytes on the wire."""
    await exchange.start(EVENTS if exchange.streamed else JSON, [("content-encoding", "gzip")])
    async for data in _zipped(_padded(exchange, ask)):
        await exchange.chunk(data)
    await exchange.finish()


def _padded(exchange: Exchange, ask: Ask) -> Iterator[bytes]:
    """An answer with megabytes of white space behind its first brace, where JSON allows it."""
    reply = echo(ask)
    payloads = list(chunks(reply, ask)) if exchange.streamed else [whole(reply, ask)]
    first, *others = (orjson.dumps(payload) for payload in payloads)
    yield (b"data: {" if exchange.streamed else b"{")
    for _ in range(ask.name.number("n", 200)):
        yield b" " * MEGABYTE
    yield first[1:]
    if exchange.streamed:
        yield b"\n\n" + b"".join(b"data: %s\n\n" % payload for payload in [*others, b"[DONE]"])


async def _zipped(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    zipper = zlib.compressobj(level=9, wbits=31)
    for part in parts:
        if data := zipper.compress(part):
            yield data
        await asyncio.sleep(0)  # other connections go on while this one compresses
    yield zipper.flush()


async def two_responses(exchange: Exchange, ask: Ask) -> None:
    """What a client that reuses the connection reads as the answer to its next request."""
    second = _whole_response(ask, text_reply("POISON", ask))
    if exchange.streamed:
        await exchange.start()
        await send_events(exchange, chunks(echo(ask), ask), ask.name.pause)
        await exchange.send(wire.chunk(b"data: [DONE]\n\n") + wire.chunk(b"") + second)
    else:
        await exchange.send(_whole_response(ask, echo(ask)) + second)


def _whole_response(ask: Ask, reply: Reply) -> bytes:
    body = orjson.dumps(whole(reply, ask))
    return wire.head(200, [("content-type", JSON), ("content-length", str(len(body)))]) + body


async def wrong_type(exchange: Exchange, ask: Ask) -> None:
    await deliver_whole(exchange, ask, echo(ask))


async def whole_stream(exchange: Exchange, ask: Ask) -> None:
    await exchange.start()
    await deliver_events(exchange, ask, echo(ask))


FAULTS: Mapping[str, Behaviour] = {
    "hang": hang,
    "close": close,
    "reset": reset,
    "drip-headers": drip_headers,
    "interim": interim,
    "many-headers": many_headers,
    "trickle": trickle,
    "stall": breaking_off(silence),
    "reset-mid": breaking_off(rst),
    "cut-mid": breaking_off(fin),
    "end-mid": breaking_off(clean_end),
    "error-event": error_event_mid,
    "bad-event": bad_event,
    "garbage-stream": garbage_stream,
    "huge-line": huge_line,
    "gzip-bomb": gzip_bomb,
    "two-responses": two_responses,
    "wrong-type": wrong_type,
    "whole-stream": whole_stream,
}
