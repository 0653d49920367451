"""Good answers with a provider's habits: nothing here is wrong enough for a client to lose the answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import cycle

import orjson

from tests.provider.answers import echo, text_reply
from tests.provider.ask import Ask
from tests.provider.delivery import Behaviour, answering, deliver, deliver_events, send_events, streaming
from tests.provider.exchange import EVENTS, JSON, Exchange, Json
from tests.provider.reply import Reply, UsageHabit, chunks, whole

#: What ``usage-bad-<kind>`` makes of a good usage.
BAD_USAGE: Mapping[str, Json] = {
    "negative": {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12},
    "float": {"prompt_tokens": 3.5, "completion_tokens": 1.25, "total_tokens": 4.75},
    "huge": {"prompt_tokens": 2**63, "completion_tokens": 2**63, "total_tokens": 2**63},
    "large": {"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 2 * 10**9},
    "text": {"prompt_tokens": "many", "completion_tokens": "few", "total_tokens": "some"},
}
SEPARATORS = "one\u2028two\u2029three\u0085four\x0bfive 👩\u200d🚀 six 🌍 seven"
COMMENT = b": OPENROUTER PROCESSING"


def usage_habit(habit: UsageHabit) -> Behaviour:
    return answering(lambda ask: replace(echo(ask), usage_habit=habit))


def bad_usage(ask: Ask) -> Reply:
    reply = echo(ask)
    if ask.name.value == "partial":
        return replace(reply, usage={"prompt_tokens": reply.usage["prompt_tokens"]})
    return replace(reply, usage={**reply.usage, **BAD_USAGE[ask.name.value]})


@streaming(echo)
async def no_done(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    await send_events(exchange, chunks(reply, ask), ask.name.pause)
    await exchange.finish()


async def close_delimited(exchange: Exchange, ask: Ask) -> None:
    """A body that only the end of the connection ends, as HTTP/1.0 servers and some proxies send."""
    exchange.hang_up()
    await exchange.head(200, [("content-type", EVENTS if exchange.streamed else JSON), ("connection", "close")])
    if exchange.streamed:
        for payload in [*map(orjson.dumps, chunks(echo(ask), ask)), b"[DONE]"]:
            await exchange.send(b"data: %s\n\n" % payload)
            exchange.seen.events += 1
    else:
        await exchange.send(orjson.dumps(whole(echo(ask), ask)))


@streaming(echo)
async def comments(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    """Everything the event stream format allows and OpenAI never sends.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """
    first, *others = chunks(reply, ask)
    # A reader that does not strip the byte order mark loses this event, and with it the role.
    await exchange.chunk(b"\xef\xbb\xbfdata:%s\n\n" % orjson.dumps(first))
    ends = cycle((b"\r\n", b"\n", b"\r"))
    for number, payload in enumerate(others):
        await asyncio.sleep(ask.name.pause)
        await exchange.chunk(_decorated(payload, number, next(ends)))
        exchange.seen.events += 1
    await exchange.chunk(COMMENT + b"\r\n\r\n:\r\n")
    await exchange.done()


def _decorated(payload: Json, number: int, end: bytes) -> bytes:
    """One event: a comment of its own, fields in an odd order, and JSON over as many lines as it has members."""
    data = [b"data:" + line for line in orjson.dumps(payload, option=orjson.OPT_INDENT_2).split(b"\n")]
    lines = [COMMENT, b"", b"id: %d" % number, *data, b"event: message", b"retry: 3000", b"unknown: x", b""]
    return b"".join(line + end for line in lines)


@streaming(lambda ask: text_reply(SEPARATORS, ask))
async def u2028(exchange: Exchange, ask: Ask, reply: Reply) -> None:
    """Line separators that are none in an event stream, and every character cut in the middle."""
    for chunk in chunks(reply, ask):
        for byte in b"data: %s\n\n" % orjson.dumps(chunk):
            await exchange.chunk(bytes([byte]))
        exchange.seen.events += 1
        await asyncio.sleep(ask.name.pause)
    await exchange.done()


async def extras(exchange: Exchange, ask: Ask) -> None:
    """Fields nobody has heard of: beside the choices, in a choice, in its message or delta, in usage."""
    if exchange.streamed:
        await exchange.start()
        await send_events(exchange, map(_with_extras, chunks(echo(ask), ask)), ask.name.pause)
        await exchange.done()
    else:
        await exchange.json(200, _with_extras(whole(echo(ask), ask)))


def _with_extras(payload: Json) -> Json:
    part = "message" if payload["object"] == "chat.completion" else "delta"
    choices = [
        {**choice, part: {**choice[part], "x_content": ["unknown", None]}, "x_choice": {"score": 0.5}}
        for choice in payload["choices"]
    ]
    told = {**payload, "choices": choices, "x_provider": {"name": "scripted", "warm": True}}
    if payload.get("usage"):
        told["usage"] = {**payload["usage"], "x_cost": 0.0001}
    return told


async def empty_choices(exchange: Exchange, ask: Ask) -> None:
    """Azure's first chunk: no choices, no id, only what the prompt filter found."""
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    results = [{"prompt_index": 0, "content_filter_results": safe}]
    nameless = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    if exchange.streamed:
        await exchange.start()
        await exchange.event({**nameless, "prompt_filter_results": results})
        await deliver_events(exchange, ask, echo(ask))
    else:
        await exchange.json(200, {**whole(echo(ask), ask), "prompt_filter_results": results})


async def slow(exchange: Exchange, ask: Ask) -> None:
    await asyncio.sleep(int(ask.name.value or 0) / 1000)
    await deliver(exchange, ask, echo(ask))


async def cookie(exchange: Exchange, ask: Ask) -> None:
    """A cookie that must not come back: it would carry one tenant's session into another's request."""
    received = exchange.request.headers.get("cookie", "none")
    exchange.extra_headers.append(("set-cookie", f"session=s{ask.number}; Path=/"))
    await deliver(exchange, ask, text_reply(f"Cookie: {received}", ask))


HABITS: Mapping[str, Behaviour] = {
    "usage-none": usage_habit("never"),
    "usage-always": usage_habit("always"),
    "usage-in-finish": usage_habit("in-finish"),
    "usage-bad": answering(bad_usage),
    "finish": answering(lambda ask: echo(ask).ending(ask.name.value)),
    "no-done": no_done,
    "close-delimited": close_delimited,
    "comments": comments,
    "u2028": u2028,
    "extras": extras,
    "empty-choices": empty_choices,
    "slow": slow,
    "cookie": cookie,
}
