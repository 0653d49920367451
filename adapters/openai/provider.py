"""A provider behind the port: one request out, its answer in, each stage within its deadline."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import httpx

from adapters.openai import wire
from adapters.openai.errors import provider_errors, refusal
from adapters.openai.patience import Patience
from adapters.openai.sse import MAX_EVENT_BYTES
from adapters.openai.stream import StreamedAnswer, folded
from adapters.openai.transport import FRESH, GUEST
from domain.chat import Chunk, Completion
from domain.errors import ProviderBadResponse, ProviderError
from domain.facts import EventsSkipped
from domain.ports import Call, Journal

_EVENTS = "text/event-stream"
_JSON = "application/json"
#: Seconds that a stream gets to end behind [DONE]. Whoever reads the answer waits for them.
_LINGER = 0.1


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for each stage of a call, besides the call's own deadline for the whole of it.

    ``connect`` covers the wait for a free connection, DNS, TCP and TLS; ``first_byte`` all until a stream's first
    event; ``idle`` the silence between two events, in which comments do not count. A whole answer has only the call's
    deadline: a provider that thinks and one that hangs look the same. ``leftover`` is how long is waited for what need
    not come: [DONE] behind usage, the text of a refusal.
    """

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    leftover: float = 1.0


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The most bytes that are taken of one event, of a whole answer and of a refusal."""

    event: int = MAX_EVENT_BYTES
    answer: int = 32 * 1024 * 1024
    refusal: int = 64 * 1024


class OpenAIProvider:
    """Chat completions over HTTP, from any provider that the registry describes."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        deadlines: Deadlines = Deadlines(),
        sizes: SizeLimits = SizeLimits(),
        user_agent: str = "sluice",
        journal: Journal | None = None,
    ) -> None:
        # The transport is called without httpx's client around it: that would add nothing but time and a cookie jar.
        self._transport = transport
        self._deadlines = deadlines
        self._sizes = sizes
        self._user_agent = user_agent
        self._journal = journal
        self._extensions: dict[str, object] = {"timeout": {"connect": deadlines.connect, "pool": deadlines.connect}}

    async def create_chat_completion(self, call: Call) -> Completion:
        until = _now() + call.deadline
        with provider_errors("within the answer"), closing(Patience()) as patience:
            response, media_type = await self._send(call, patience.until(until), stream=False)
            try:
                with patience.until(until):
                    body = await _read(response, self._sizes.answer)
            finally:
                await _body(response).aclose()
        return folded(body, call) if media_type == _EVENTS else wire.completion(body, call)

    async def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        until = _now() + call.deadline
        silent_until = min(_now() + _shorter(self._deadlines.first_byte, call.silence), until)
        answer = StreamedAnswer(call, self._sizes.event)
        with provider_errors("within the answer"), closing(Patience()) as patience:
            response, media_type = await self._send(call, patience.until(silent_until), stream=True)
            try:
                if media_type == _JSON:
                    with patience.until(until):
                        body = await _read(response, self._sizes.answer)
                    yield wire.as_chunks(wire.completion(body, call))
                    return
                parts = aiter(_body(response))
                # One loop and no generator within a generator: it turns for every chunk.
                while not answer.is_over and (data := await _next(parts, answer, patience.until(silent_until))):
                    events, chunks = answer.events, answer.feed(data)
                    if chunks:
                        yield chunks
                    if answer.events > events:
                        silent_until = min(_now() + _shorter(self._patience_with(answer), call.silence), until)
                answer.conclude()
                await _let_end(parts)
            finally:
                self._tell(answer, call)
                await _body(response).aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _send(self, call: Call, within: Patience, *, stream: bool) -> tuple[httpx.Response, str]:
        """The response to ``call`` and its media type; never a refusal. Its body is the caller's to read and close."""
        with provider_errors("before the answer"):
            request = self._request(call, stream=stream)
            with within:
                response = await self._transport.handle_async_request(request)
        media_type = _media_type(response)
        try:
            if not 200 <= response.status_code < 300:
                raise await self._refusal(response, media_type, call)
            _require_plain(response, media_type)
        except BaseException:
            await _body(response).aclose()
            raise
        return response, media_type

    def _request(self, call: Call, *, stream: bool) -> httpx.Request:
        spec, url = call.target.provider, _address(call.target.base_url)
        body = wire.request_body(call, stream=stream)
        headers = {
            "host": url.netloc.decode("ascii"),
            "accept": _EVENTS if stream else _JSON,
            # Compressed, an answer could be a thousand times larger than what arrives.
            "accept-encoding": "identity",
            "content-type": _JSON,
            "user-agent": self._user_agent,
            "x-request-id": call.request_id,
            **{name.lower(): value for name, value in spec.headers.items()},
            "content-length": str(len(body)),
        }
        if call.span is not None:
            headers["traceparent"] = call.span.traceparent
        if call.target.key is not None:
            headers[spec.key_header.lower()] = spec.key_prefix + call.target.key
        return httpx.Request(
            "POST",
            url,
            # A fixed header without a value takes one of ours back. In bytes, and with a body that httpx need not look
            # into, this takes a fifth of the time.
            headers=[(name.encode(), value.encode()) for name, value in headers.items() if value],
            stream=httpx.ByteStream(body),
            extensions=self._extended(call),
        )

    def _extended(self, call: Call) -> dict[str, object]:
        """What the transport is told besides."""
        extensions, owner = self._extensions, call.target.provider.owner
        if owner is not None:
            extensions = {**extensions, GUEST: owner}
        return {**extensions, FRESH: True} if call.fresh else extensions

    async def _refusal(self, response: httpx.Response, media_type: str, call: Call) -> ProviderError:
        body = b""
        # The status alone says enough where the text does not come, or not in plain.
        with suppress(TimeoutError, httpx.HTTPError, ProviderError):
            _require_plain(response, media_type)
            async with asyncio.timeout(self._deadlines.leftover):
                body = await _read(response, self._sizes.refusal)
        return refusal(response.status_code, response.headers, body, call.target, time.time())

    def _tell(self, answer: StreamedAnswer, call: Call) -> None:
        if answer.skipped and self._journal is not None:
            target = call.target
            self._journal.record(EventsSkipped(call.request_id, target.provider.id, target.sent_model, answer.skipped))

    def _patience_with(self, answer: StreamedAnswer) -> float:
        return self._deadlines.leftover if answer.is_exhausted else self._deadlines.idle


def _shorter(seconds: float, silence: float | None) -> float:
    """What the provider is given, or what its client waits."""
    return seconds if silence is None else min(seconds, silence)


def _now() -> float:
    return asyncio.get_running_loop().time()


@lru_cache(maxsize=1024)
def _address(base_url: str) -> httpx.URL:
    return httpx.URL(f"{base_url.rstrip('/')}/chat/completions")


def _media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def _require_plain(response: httpx.Response, media_type: str) -> None:
    """Raise ProviderBadResponse for a body that is compressed, although it was asked not to be, or is a web page."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ProviderBadResponse(detail="a compressed answer", status=response.status_code)
    if media_type == "text/html":
        raise ProviderBadResponse(detail="a web page", status=response.status_code)


def _body(response: httpx.Response) -> httpx.AsyncByteStream:
    """What arrives of the body, as it arrives. Closing it is closing the response."""
    return cast(httpx.AsyncByteStream, response.stream)


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The whole body.

    Raises:
        ProviderBadResponse: it has more than ``limit`` bytes.
    """
    body = bytearray()
    async for data in _body(response):
        body += data
        if len(body) > limit:
            raise ProviderBadResponse(detail="an answer that is too large", status=response.status_code)
    return bytes(body)


async def _next(parts: AsyncIterator[bytes], answer: StreamedAnswer, patience: Patience) -> bytes:
    """What comes next; nothing at the end, and nothing where it breaks off or falls silent behind the whole answer."""
    try:
        with patience:
            return await anext(parts, b"")
    except (TimeoutError, httpx.NetworkError):
        if answer.is_finished:
            return b""
        raise


async def _let_end(parts: AsyncIterator[bytes]) -> None:
    """Wait for the end of a body that has no more to say: only behind it can the connection be used again."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_LINGER):
            while await anext(parts, b""):
                pass
