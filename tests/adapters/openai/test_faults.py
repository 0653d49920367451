"""The adapter against connections that break, stall or never come: rows F12 to F19 of the reliability table.

Whatever happens, a call ends in time, in one of the domain's kinds, and behind the chunks that came before.
"""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.openai.provider import Deadlines, OpenAIProvider
from adapters.openai.transport import PooledTransport
from domain.errors import (
    ProviderError,
    ProviderHungUp,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
)
from domain.facts import EventsSkipped
from tests.adapters.openai.asking import Form, answer, both_forms, call_to, failure_of, outcome
from tests.adapters.openai.calls import a_call, a_target, choice_of, event_of, streamed, text_of
from tests.adapters.openai.servers import (
    EVENTS_HEAD,
    Reader,
    Writer,
    answering,
    certificate,
    response,
    serving,
    silent,
    stalling,
    take_request,
)
from tests.fakes import ListJournal
from tests.provider.process import ProviderProcess

pytestmark = pytest.mark.anyio

SAID = event_of(choice_of({"content": "hello"}))
FINISHED = event_of(choice_of(finish="stop"))
USED = event_of(usage={"prompt_tokens": 5, "completion_tokens": 7})


# --- F12, F13: no connection --------------------------------------------------------------------------------------


@both_forms
async def test_a_provider_that_refuses_connections_is_unreachable(
    provider: OpenAIProvider, free_port: int, form: Form
) -> None:
    call = a_call(a_target("echo", f"http://127.0.0.1:{free_port}/v1"))

    assert type(await failure_of(provider, call, form)) is ProviderUnreachable


@both_forms
@pytest.mark.parametrize("expired", [False, True])
async def test_a_provider_that_cannot_prove_who_it_is_is_unreachable(
    provider: OpenAIProvider, tmp_path: Path, expired: bool, form: Form
) -> None:
    async with serving(silent, certificate(tmp_path, expired=expired)) as origin:
        error = await failure_of(provider, a_call(a_target("echo", origin)), form)

    assert type(error) is ProviderUnreachable


@both_forms
async def test_a_provider_that_does_not_connect_in_time_is_unreachable(transport: PooledTransport, form: Form) -> None:
    hasty = OpenAIProvider(transport, deadlines=Deadlines(connect=0.1))

    async with serving(silent) as origin:
        error = await failure_of(hasty, a_call(a_target("echo", origin.replace("http:", "https:"))), form)

    assert type(error) is ProviderUnreachable


async def test_a_base_url_that_is_none_is_unreachable(provider: OpenAIProvider) -> None:
    error = await failure_of(provider, a_call(a_target("echo", "http://[::1/v1")), "whole")

    assert type(error) is ProviderUnreachable


# --- F14 to F17: cut off ------------------------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize("model", ["reset", "close"])
async def test_a_connection_that_ends_before_the_head_is_cut_off_and_not_tried_again(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str, form: Form
) -> None:
    error = await failure_of(provider, call_to(scripted, model), form)

    assert type(error) is ProviderTruncated
    assert len(scripted.requests()) == 1


async def test_a_used_connection_that_ends_before_the_head_is_hung_up_and_not_tried_again_here(
    provider: OpenAIProvider,
) -> None:
    asked = 0

    async def answer_once(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        await take_request(reader)
        writer.write(response(b'{"choices": [{"message": {"content": "hello"}}]}'))
        await take_request(reader)
        asked += 1

    async with serving(answer_once) as origin:
        await answer(provider, a_call(a_target("echo", origin)), "whole")
        error = await failure_of(provider, a_call(a_target("echo", origin)), "whole")

    assert type(error) is ProviderHungUp
    assert asked == 1


async def test_a_fresh_call_leaves_a_kept_connection_alone(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    call = call_to(scripted, "echo")

    for told in (call, call, replace(call, fresh=True)):
        await answer(provider, told, "whole")

    first, second, fresh = (seen.connection for seen in scripted.requests())
    assert first == second != fresh


@pytest.mark.parametrize("model", ["reset-mid", "cut-mid"])
async def test_a_whole_answer_that_breaks_off_is_truncated(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str
) -> None:
    assert type(await failure_of(provider, call_to(scripted, model), "whole")) is ProviderTruncated


@pytest.mark.parametrize("model", ["reset-mid-n3-i5", "cut-mid-n3", "end-mid-n3"])
async def test_a_stream_that_breaks_off_is_truncated_behind_what_came(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str
) -> None:
    found = await outcome(provider, call_to(scripted, model))

    assert type(found.error) is ProviderTruncated
    assert text_of(found.chunks) == "w0 w1 w2 "


async def test_a_stream_that_breaks_off_behind_its_end_is_whole(provider: OpenAIProvider) -> None:
    async def reset(reader: Reader, writer: Writer) -> None:
        await answering(CHUNKED_HEAD, chunk(streamed(SAID, FINISHED)))(reader, writer)
        writer.transport.abort()

    async with serving(reset) as origin:
        found = await outcome(provider, a_call(a_target("echo", origin)))

    assert (text_of(found.chunks), found.error) == ("hello", None)


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# --- F18, F19: late -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hang", "drip-headers-i10", "interim-i10", "trickle-i10"])
async def test_a_stream_has_its_first_event_in_time_or_none(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str
) -> None:
    began = time.monotonic()

    error = await failure_of(provider, call_to(scripted, model), "stream")

    assert type(error) is ProviderTimeout
    assert 0.6 <= time.monotonic() - began < 2


@pytest.mark.parametrize("model", ["stall-n3"])
async def test_a_stream_that_falls_silent_is_ended(
    scripted: ProviderProcess, provider: OpenAIProvider, model: str
) -> None:
    began = time.monotonic()

    found = await outcome(provider, call_to(scripted, model))

    assert type(found.error) is ProviderTimeout
    assert text_of(found.chunks) == "w0 w1 w2 "
    assert 0.4 <= time.monotonic() - began < 2


async def test_comments_between_events_are_no_sign_of_life(provider: OpenAIProvider) -> None:
    async def comment(reader: Reader, writer: Writer) -> None:
        await answering(EVENTS_HEAD, streamed(SAID))(reader, writer)
        while True:
            writer.write(b": still working\n\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(comment) as origin:
        began = time.monotonic()
        found = await outcome(provider, a_call(a_target("echo", origin)))

    assert type(found.error) is ProviderTimeout
    assert 0.4 <= time.monotonic() - began < 2


@both_forms
@pytest.mark.parametrize(
    "model", ["hang", "drip-headers-i10", "interim-i10", "stall-n3", "trickle-i10", "words-n1000-i20"]
)
async def test_the_calls_own_deadline_ends_everything(
    scripted: ProviderProcess, transport: PooledTransport, model: str, form: Form
) -> None:
    began = time.monotonic()
    call = a_call(a_target(model, scripted.base_url), deadline=0.15)

    error = await failure_of(OpenAIProvider(transport), call, form)

    assert type(error) is ProviderTimeout
    assert 0.15 <= time.monotonic() - began < 2


async def test_a_slow_answer_is_waited_for(scripted: ProviderProcess, provider: OpenAIProvider) -> None:
    # Longer than a stream may take to begin, and than it may be silent.
    whole = await answer(provider, call_to(scripted, "slow-900"), "whole")
    # Longer than a stream may take to begin, all in all.
    streamed = await answer(provider, call_to(scripted, "words-n12-i80"), "stream")

    assert whole.choices[0]["message"]["content"] == "hello wide world"
    assert streamed.choices[0]["message"]["content"].startswith("w0 w1")


async def test_a_slow_reader_is_not_mistaken_for_a_silent_provider(
    scripted: ProviderProcess, provider: OpenAIProvider
) -> None:
    batches = provider.stream_chat_completion(call_to(scripted, "words-n5-i20"))

    first = await anext(batches)
    await asyncio.sleep(0.6)
    rest = [chunk async for batch in batches for chunk in batch]

    assert text_of([*first, *rest]) == "w0 w1 w2 w3 w4"


@pytest.mark.parametrize(
    ("events", "deadlines"),
    [
        pytest.param((SAID, FINISHED, USED), Deadlines(leftover=0.1), id="after usage hardly anything is waited for"),
        pytest.param((SAID, FINISHED), Deadlines(idle=0.1), id="without usage it might come yet"),
    ],
)
async def test_an_answer_that_is_whole_does_not_fail_for_want_of_an_end(
    transport: PooledTransport, events: tuple[bytes, ...], deadlines: Deadlines
) -> None:
    async with serving(stalling(EVENTS_HEAD, streamed(*events))) as origin:
        began = time.monotonic()
        found = await outcome(OpenAIProvider(transport, deadlines=deadlines), a_call(a_target("echo", origin)))

    assert (text_of(found.chunks), found.error) == ("hello", None)
    assert time.monotonic() - began < 2


async def test_a_body_that_ends_a_little_later_leaves_its_connection_to_others(provider: OpenAIProvider) -> None:
    connections = 0

    async def end_later(reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        while True:
            await take_request(reader)
            writer.write(CHUNKED_HEAD + chunk(streamed(SAID, FINISHED, b"[DONE]")))
            await asyncio.sleep(0.01)
            writer.write(chunk(b""))

    async with serving(end_later) as origin:
        for _ in range(3):
            await answer(provider, a_call(a_target("echo", origin)), "stream")

    assert connections == 1


async def test_nobody_waits_for_the_connection_to_end_behind_done(transport: PooledTransport) -> None:
    patient = OpenAIProvider(transport)

    async with serving(stalling(EVENTS_HEAD, streamed(SAID, FINISHED, b"[DONE]"))) as origin:
        began = time.monotonic()
        found = await outcome(patient, a_call(a_target("echo", origin)))

    assert (text_of(found.chunks), found.error) == ("hello", None)
    assert time.monotonic() - began < 1


@both_forms
@pytest.mark.parametrize(
    ("status", "kind"), [(429, ProviderRateLimited), (401, ProviderRefusedKey), (503, ProviderError)]
)
async def test_a_refusal_whose_text_does_not_come_is_known_by_its_status(
    provider: OpenAIProvider, status: int, kind: type[ProviderError], form: Form
) -> None:
    head = b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{" % status

    async with serving(stalling(head)) as origin:
        error = await failure_of(provider, a_call(a_target("echo", origin)), form)

    assert type(error) is kind


# --- F20: malformed events ----------------------------------------------------------------------------------------


async def test_events_that_are_skipped_are_told_once(transport: PooledTransport) -> None:
    journal = ListJournal()
    stream = streamed(b"ping", SAID, b"ping", FINISHED, b"{", b"[DONE]")

    async with serving(answering(EVENTS_HEAD, stream)) as origin:
        found = await outcome(OpenAIProvider(transport, journal=journal), a_call(a_target("echo", origin)))

    assert (text_of(found.chunks), found.error) == ("hello", None)
    assert journal.facts == [EventsSkipped("req-1", "openai", "echo", 3)]


async def test_events_that_are_skipped_are_no_sign_of_life(provider: OpenAIProvider) -> None:
    async def ping(reader: Reader, writer: Writer) -> None:
        await answering(EVENTS_HEAD, streamed(SAID))(reader, writer)
        while True:
            writer.write(streamed(b"ping"))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(ping) as origin, asyncio.timeout(5):
        found = await outcome(provider, a_call(a_target("echo", origin)))

    assert type(found.error) is ProviderTimeout
