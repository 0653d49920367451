"""How a run leaves over HTTP: whole, as a stream, or as the state of a job. The same for all surfaces."""

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sanic import HTTPResponse, Request

from domain.chat import ChatRequest, Completion, JsonObject
from domain.completions.orders import Order, Started
from domain.completions.runs import CompletionRuns
from domain.completions.tail import Tail
from domain.errors import CompletionCancelled, InternalError, InvalidCursor, SluiceError
from domain.facts import StreamResumed, Unexpected
from domain.ports import Journal
from domain.runs import (
    END_PLACE,
    Cursor,
    Ending,
    Run,
    Status,
    is_terminal,
    parse_cursor,
    run_of_cursor,
)
from domain.tenants import Caller, TenantId, UserId
from entrypoints.http import sse
from entrypoints.http.errors import error_object
from entrypoints.http.exchange import Exchange, json_response
from entrypoints.http.headers import Preferences, idempotency_key, preferences, read_timeout

_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
#: Seconds that the answer to a cancel waits for the run's end; it comes at once unless its replica is gone.
_CANCEL_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Answering:
    """Carries out an order and answers with what comes of it.

    A stream that stays silent for ``first_byte_grace`` seconds is begun with a comment; until then a failure is still
    an HTTP error. After that a comment goes out for every ``keep_alive`` seconds of silence.
    """

    runs: CompletionRuns
    journal: Journal
    first_byte_grace: float
    keep_alive: float

    # --- creating ---------------------------------------------------------------------------------------------

    async def create(
        self,
        request: Request,
        exchange: Exchange,
        caller: Caller,
        chat: ChatRequest,
        order: Order,
        *,
        jobs: bool = False,
    ) -> HTTPResponse | None:
        """Answer with the stream or the completion, as the request asks; with a job in place of the completion where
        the surface has ``jobs``, or the client prefers one."""
        headers = request.headers
        key, silence = idempotency_key(headers), read_timeout(headers)
        order = replace(order, idempotency_key=key, silence=silence, span=exchange.span)
        known = await self._named_by_cursor(request, caller, chat)
        if known is not None:
            return await self._resume(request, exchange, known, _path_of(request, known))
        if not chat.stream and (jobs or _preferred(request).respond_async):
            return await self._queue(request, exchange, caller, chat, order, accepted=200 if jobs else 202)
        started = await self.runs.start(caller, chat, order)
        self._note(exchange, request, started)
        if not chat.stream:
            return await self._whole(exchange, started)
        if started.tail is not None:
            with started.tail.read() as tail:
                return await self._stream(request, exchange, started.run, tail, 0)
        async with self.runs.following(started.run, Cursor()) as tail:
            return await self._stream(request, exchange, started.run, tail, 0)

    async def _queue(
        self,
        request: Request,
        exchange: Exchange,
        caller: Caller,
        chat: ChatRequest,
        order: Order,
        *,
        accepted: int,
    ) -> HTTPResponse:
        """Answer with the job, or with the completion where the client waits long enough for it."""
        prefer = _preferred(request)
        # A job is asked of the provider as a stream, so that whoever wants to can watch it.
        order = replace(order, live=True)
        started = await self.runs.enqueue(caller, chat, order)
        self._note(exchange, request, started)
        run, applied = started.run, prefer.applied("wait", *(("respond-async",) if accepted != 200 else ()))
        if prefer.wait:
            ending = await self._outcome(exchange, started, prefer.wait)
            if ending is not None:
                return await self._ended(exchange, run, ending, applied)
            run = await self.runs.find(run.id, run.tenant, run.user)
        job = {"id": run.answer_id, "status": run.status.value, "eta": started.eta}
        return json_response(orjson.dumps(job), exchange, applied, status=accepted)

    async def _named_by_cursor(self, request: Request, caller: Caller, chat: ChatRequest) -> Run | None:
        """The run whose stream a POST with Last-Event-ID goes on with: it never begins another one."""
        text = request.headers.get("last-event-id")
        if not text or text == "0":
            return None
        run_id = run_of_cursor(text)
        if run_id is None or not chat.stream:
            raise InvalidCursor("Last-Event-ID has to name a stream, and the request to ask for one.")
        return await self.runs.find_stream(run_id, caller, chat)

    def _note(self, exchange: Exchange, request: Request, started: Started) -> None:
        exchange.verdict = started.verdict
        exchange.knows(started.run, _path_of(request, started.run))
        exchange.cache = started.cache
        exchange.replayed = started.replayed

    async def _whole(self, exchange: Exchange, started: Started) -> HTTPResponse:
        ending = await self._outcome(exchange, started)
        assert ending is not None  # noqa: S101 - without a time limit there is an ending
        return await self._ended(exchange, started.run, ending, {})

    async def _outcome(self, exchange: Exchange, started: Started, seconds: float | None = None) -> Ending | None:
        """How a run ended, once it has; None after ``seconds`` without."""
        run = started.run
        if is_terminal(run.status):
            # Its log may be gone, which does not matter here.
            return Ending(run.status, usage=run.usage, charged=run.charged or 0, error=run.error)
        if started.tail is not None:
            with started.tail.read() as tail:
                return await _ended(exchange, tail, seconds)
        async with self.runs.following(run, Cursor()) as tail:
            return await _ended(exchange, tail, seconds)

    async def _ended(self, exchange: Exchange, run: Run, ending: Ending, headers: dict[str, str]) -> HTTPResponse:
        if run.source is not None:
            # What another's run cost is not what this view of it costs.
            ending = replace(ending, charged=run.charged or 0)
        exchange.saw(ending)
        if ending.status is not Status.COMPLETED:
            raise _reason(ending)
        completion = ending.completion or await self.runs.completion(run)
        if completion is None:
            raise InternalError
        charged = {"X-Sluice-Charged-Tokens": str(ending.charged)}
        return json_response(orjson.dumps(_completion(run, completion)), exchange, {**headers, **charged})

    # --- streaming --------------------------------------------------------------------------------------------

    async def _stream(
        self, request: Request, exchange: Exchange, run: Run, tail: Tail, seen: int
    ) -> HTTPResponse | None:
        silent = not await tail.grown(seen, self.first_byte_grace)
        exchange.learns(tail.run)
        if not silent and not seen:
            _raise_if_stillborn(exchange, tail)
        response = await request.respond(
            status=200, headers={**exchange.headers(), **_STREAM_HEADERS}, content_type=sse.CONTENT_TYPE
        )
        exchange.status = 200
        try:
            if silent:
                await response.send(sse.KEEP_ALIVE)
            async with aclosing(sse.follow(run, tail, seen, self.keep_alive)) as frames:
                async for frame in frames:
                    await response.send(frame)
            await response.eof()
        except Exception as error:  # noqa: BLE001 - Sanic would end the body cleanly, and a cut answer look complete
            self.journal.record(Unexpected(exchange.route, error, exchange.request_id))
            _abort(request)
        finally:
            if tail.ending is not None:
                exchange.saw(tail.ending if run.source is None else replace(tail.ending, charged=run.charged or 0))
        return None

    # --- fetching ---------------------------------------------------------------------------------------------

    async def fetch(
        self, request: Request, exchange: Exchange, run_id: str, tenant_id: TenantId, user: UserId
    ) -> HTTPResponse | None:
        """A run again: its state, or with ``?stream=true`` its stream from a cursor on."""
        run = await self.runs.find(run_id, tenant_id, user)
        path = f"{request.path.rstrip('/').rpartition('/')[0]}/{run.id}"
        if request.args.get("stream") == "true":
            return await self._resume(request, exchange, run, path)
        exchange.knows(run, path)
        prefer = _preferred(request)
        if prefer.wait and not is_terminal(run.status):
            async with self.runs.following(run, Cursor()) as tail:
                await tail.ended(prefer.wait)
            run = await self.runs.find(run.id, tenant_id, user)
        return await self._state(exchange, run, prefer)

    async def cancel(
        self, request: Request, exchange: Exchange, run_id: str, tenant_id: TenantId, user: UserId
    ) -> HTTPResponse:
        """Stop a run; what it is then. One that has ended stays as it is."""
        run = await self.runs.find(run_id, tenant_id, user)
        exchange.knows(run, f"{request.path.rstrip('/').rpartition('/')[0].rpartition('/')[0]}/{run.id}")
        cancelled = await self.runs.cancel(run, _CANCEL_PATIENCE)
        return await self._state(exchange, cancelled, Preferences())

    async def _resume(self, request: Request, exchange: Exchange, run: Run, path: str) -> HTTPResponse | None:
        exchange.knows(run, path)
        cursor = _cursor(request, run.id)
        async with self.runs.following(run, cursor) as tail:
            if tail.ending is not None and cursor.seq == len(tail.entries) + END_PLACE:
                # An EventSource that has everything comes back all the same; only 204 makes it stop.
                return HTTPResponse(b"", 204, exchange.headers())
            self.journal.record(StreamResumed(run.id, run.tenant, cursor.seq))
            return await self._stream(request, exchange, run, tail, cursor.seq)

    async def _state(self, exchange: Exchange, run: Run, prefer: Preferences) -> HTTPResponse:
        state: JsonObject = {"id": run.answer_id, "status": run.status.value}
        headers = prefer.applied("wait")
        if run.charged is not None:
            exchange.usage, exchange.charged = run.usage, run.charged
            headers |= {"X-Sluice-Charged-Tokens": str(run.charged)}
        if run.status is Status.FAILED:
            state["error"] = error_object(run.error.as_exception() if run.error is not None else InternalError())
        elif run.status is Status.COMPLETED:
            completion = await self.runs.completion(run)
            state |= _completion(run, completion) if completion is not None else {}
        return json_response(orjson.dumps(state), exchange, headers)


async def _ended(exchange: Exchange, tail: Tail, seconds: float | None) -> Ending | None:
    """How a run ended, once it has, and who answered it; None after ``seconds`` without."""
    ending = await tail.ended(seconds)
    exchange.learns(tail.run)
    return ending


def _preferred(request: Request) -> Preferences:
    """The preferences of a request; they may come in one header or in several (RFC 7240, section 2)."""
    return preferences(",".join(request.headers.getall("prefer", [])))


def _path_of(request: Request, run: Run) -> str:
    """Where a run that answers this POST can be fetched."""
    return f"{request.path.rstrip('/')}/{run.id}"


def _completion(run: Run, completion: Completion) -> JsonObject:
    """OpenAI's ``chat.completion``."""
    return {
        "id": run.answer_id,
        "object": "chat.completion",
        "created": run.created,
        "model": completion.model or run.model,
        **completion.body,
        "usage": completion.usage.as_json() if completion.usage is not None else None,
    }


def _raise_if_stillborn(exchange: Exchange, tail: Tail) -> None:
    """A stream that failed before its first event is a plain HTTP error."""
    if tail.ending is not None and not tail.entries and tail.ending.status is not Status.COMPLETED:
        exchange.saw(tail.ending)
        raise _reason(tail.ending)


def _reason(ending: Ending) -> SluiceError:
    if ending.error is not None:
        return ending.error.as_exception()
    return CompletionCancelled() if ending.status is Status.CANCELLED else InternalError()


def _cursor(request: Request, run_id: str) -> Cursor:
    """The place from which to go on. A client may say it twice, but not differently."""
    given = [text for text in (request.headers.get("last-event-id"), request.args.get("starting_after")) if text]
    cursors = {parse_cursor(text, run_id) for text in given}
    seqs = {cursor.seq for cursor in cursors}
    attempts = {cursor.attempt for cursor in cursors if cursor.attempt is not None}
    if len(seqs) > 1 or len(attempts) > 1:
        raise InvalidCursor("Last-Event-ID and starting_after disagree.")
    return Cursor(seqs.pop() if seqs else 0, attempts.pop() if attempts else None)


def _abort(request: Request) -> None:
    """Cut the connection, so that the body stays unterminated and no client takes it for a whole one."""
    # Not asked for its type: uvloop's transports are none of asyncio's.
    transport: Any = request.transport
    if transport is not None:
        transport.abort()
