"""A provider behind the port: one request out, its answer in, each stage within its deadline."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import httpx

from adapters.openai import wire
from adapters.openai.errors import provider_errors, refusal
from adapters.openai.patience import Patience
from adapters.openai.sse import MAX_EVENT_BYTES
from adapters.openai.stream import StreamedAnswer, folded
from domain.chat import Chunk, Completion
from domain.errors import ProviderBadResponse, ProviderError
from domain.ports import Call

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
    ) -> None:
        # The transport is called without httpx's client around it: that would add nothing but time and a cookie jar.
        self._transport = transport
        self._deadlines = deadlines
        self._sizes = sizes
        self._user_agent = user_agent

    async def create_chat_completion(self, call: Call) -> Completion:
        until = _now() + call.deadline
        with provider_errors("within the answer"):
            response = await self._send(call, stream=False, until=until)
            try:
                body = await self._whole(response, until)
            finally:
                await response.aclose()
        return folded(body, call) if _media_type(response) == _EVENTS else wire.completion(body, call)

    async def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        began = _now()
        first, until = began + self._deadlines.first_byte, began + call.deadline
        with provider_errors("within the answer"):
            response = await self._send(call, stream=True, until=min(first, until))
            try:
                if _media_type(response) == _JSON:
                    yield wire.as_chunks(wire.completion(await self._whole(response, until), call))
                    return
                async with aclosing(self._relay(response, call, first, until)) as batches:
                    async for chunks in batches:
                        yield chunks
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _send(self, call: Call, *, stream: bool, until: float) -> httpx.Response:
        """The response to ``call``, its body still to be read and to be closed by the caller; never a refusal."""
        with provider_errors("before the answer"):
            request = self._request(call, stream=stream)
            async with asyncio.timeout_at(until):
                response = await self._transport.handle_async_request(request)
        try:
            if not 200 <= response.status_code < 300:
                raise await self._refusal(response, call)
            _require_plain(response)
        except BaseException:
            await response.aclose()
            raise
        return response

    def _request(self, call: Call, *, stream: bool) -> httpx.Request:
        spec = call.target.provider
        headers = {
            "accept": _EVENTS if stream else _JSON,
            # Compressed, an answer could be a thousand times larger than what arrives.
            "accept-encoding": "identity",
            "content-type": _JSON,
            "user-agent": self._user_agent,
            "x-request-id": call.request_id,
            **{name.lower(): value for name, value in spec.headers.items()},
        }
        if call.target.key is not None:
            headers[spec.key_header.lower()] = spec.key_prefix + call.target.key
        return httpx.Request(
            "POST",
            _address(call.target.base_url),
            # A fixed header without a value takes one of ours back.
            headers={name: value for name, value in headers.items() if value},
            content=wire.request_body(call, stream=stream),
            extensions={"timeout": {"connect": self._deadlines.connect, "pool": self._deadlines.connect}},
        )

    async def _refusal(self, response: httpx.Response, call: Call) -> ProviderError:
        body = b""
        # The status alone says enough where the text does not come, or not in plain.
        with suppress(TimeoutError, httpx.HTTPError, ProviderError):
            _require_plain(response)
            async with asyncio.timeout(self._deadlines.leftover):
                body = await _read(response, self._sizes.refusal)
        return refusal(response.status_code, response.headers, body, call.target, time.time())

    # --- reading --------------------------------------------------------------------------------------------------

    async def _whole(self, response: httpx.Response, until: float) -> bytes:
        async with asyncio.timeout_at(until):
            return await _read(response, self._sizes.answer)

    async def _relay(
        self, response: httpx.Response, call: Call, first: float, until: float
    ) -> AsyncGenerator[tuple[Chunk, ...], None]:
        """The chunks of each read, until the answer is over; ``first`` is when its first event must have come."""
        answer, parts, patience = StreamedAnswer(call, self._sizes.event), _parts(response), Patience()
        silent_until = first
        try:
            while not answer.is_over:
                data = await _next(parts, answer, patience.until(min(silent_until, until)))
                if not data:
                    break
                events, chunks = answer.events, answer.feed(data)
                if chunks:
                    yield chunks
                if answer.events > events:
                    silent_until = _now() + self._patience_with(answer)
        finally:
            patience.close()
        answer.conclude()
        await _let_end(parts)

    def _patience_with(self, answer: StreamedAnswer) -> float:
        return self._deadlines.leftover if answer.is_exhausted else self._deadlines.idle


def _now() -> float:
    return asyncio.get_running_loop().time()


@lru_cache(maxsize=1024)
def _address(base_url: str) -> httpx.URL:
    return httpx.URL(f"{base_url.rstrip('/')}/chat/completions")


def _media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def _require_plain(response: httpx.Response) -> None:
    """Raise ProviderBadResponse for a body that is compressed, although it was asked not to be, or is a web page."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ProviderBadResponse(detail="a compressed answer", status=response.status_code)
    if _media_type(response) == "text/html":
        raise ProviderBadResponse(detail="a web page", status=response.status_code)


def _parts(response: httpx.Response) -> AsyncIterator[bytes]:
    """What arrives of the body, as it arrives."""
    return aiter(cast(httpx.AsyncByteStream, response.stream))


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The whole body.

    Raises:
        ProviderBadResponse: it has more than ``limit`` bytes.
    """
    body = bytearray()
    async for data in _parts(response):
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
