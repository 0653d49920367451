"""How a run leaves over HTTP: whole, as a stream, or as the state of a job. The same for all surfaces."""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from sanic import HTTPResponse, Request

from domain.chat import ChatRequest, Completion, JsonObject
from domain.completions.runs import CompletionRuns, Order, Started
from domain.completions.tail import Tail
from domain.errors import InternalError, InvalidCursor, SluiceError
from domain.facts import Unexpected
from domain.ports import Journal
from domain.runs import END_PLACE, Cursor, Ending, Run, RunError, Status, is_terminal, parse_cursor
from domain.tenants import Caller, TenantId, UserId
from entrypoints.http import sse
from entrypoints.http.errors import error_object
from entrypoints.http.exchange import Exchange, json_response
from entrypoints.http.headers import preferred_wait

_STREAM_HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


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

    async def answer(
        self, request: Request, exchange: Exchange, caller: Caller, chat: ChatRequest, order: Order
    ) -> HTTPResponse | None:
        """Start a run and answer with its stream or its completion, as the request asks."""
        started = await self.runs.start(caller, chat, order)
        self._note(exchange, request, chat, started)
        if chat.stream:
            return await self._stream(request, exchange, started.tail, 0)
        return await self._whole(exchange, started.run, started.tail)

    async def queue(
        self, request: Request, exchange: Exchange, caller: Caller, chat: ChatRequest, order: Order
    ) -> HTTPResponse:
        """Queue a run and answer with the job, or with the completion where the client waits long enough for it."""
        started = await self.runs.enqueue(caller, chat, order)
        self._note(exchange, request, chat, started)
        wait = preferred_wait(request.headers.get("prefer"))
        applied = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
        ending = await started.tail.ended(wait) if wait else None
        if ending is not None:
            return await self._ended(exchange, started.tail.run, ending, applied)
        # Who does not wait is told that it is queued, even where its turn has come already.
        status = (started.tail.run if wait else started.run).status
        job = {"id": started.run.answer_id, "status": status.value, "eta": started.eta}
        return json_response(orjson.dumps(job), exchange, applied)

    def _note(self, exchange: Exchange, request: Request, chat: ChatRequest, started: Started) -> None:
        exchange.verdict = started.verdict
        exchange.knows(started.run, f"{request.path.rstrip('/')}/{started.run.id}")
        if chat.cache_key is not None:
            exchange.cache = "miss"

    async def _whole(self, exchange: Exchange, run: Run, tail: Tail) -> HTTPResponse:
        ending = await tail.ended()
        assert ending is not None  # noqa: S101 - without a time limit there is an ending
        return await self._ended(exchange, run, ending, {})

    async def _ended(self, exchange: Exchange, run: Run, ending: Ending, headers: dict[str, str]) -> HTTPResponse:
        exchange.saw(ending)
        if ending.completion is None:
            raise _reason(ending.error)
        charged = {"X-Sluice-Charged-Tokens": str(ending.charged)}
        return json_response(orjson.dumps(_completion(run, ending.completion)), exchange, {**headers, **charged})

    # --- streaming --------------------------------------------------------------------------------------------

    async def _stream(self, request: Request, exchange: Exchange, tail: Tail, seen: int) -> HTTPResponse | None:
        silent = not await tail.grown(seen, self.first_byte_grace)
        if not silent and not seen:
            _raise_if_stillborn(exchange, tail)
        response = await request.respond(
            status=200, headers={**exchange.headers(), **_STREAM_HEADERS}, content_type=sse.CONTENT_TYPE
        )
        exchange.status = 200
        try:
            if silent:
                await response.send(sse.KEEP_ALIVE)
            async with aclosing(sse.follow(tail, seen, self.keep_alive)) as frames:
                async for frame in frames:
                    await response.send(frame)
            await response.eof()
        except Exception as error:  # noqa: BLE001 - Sanic would end the body cleanly, and a cut answer look complete
            self.journal.record(Unexpected(exchange.route, error, exchange.request_id))
            _abort(request)
        finally:
            if tail.ending is not None:
                exchange.saw(tail.ending)
        return None

    # --- fetching ---------------------------------------------------------------------------------------------

    async def fetch(
        self, request: Request, exchange: Exchange, run_id: str, tenant_id: TenantId, user: UserId
    ) -> HTTPResponse | None:
        """A run again: its state, or with ``?stream=true`` its stream from a cursor on."""
        run = await self.runs.find(run_id, tenant_id, user)
        exchange.knows(run, f"{request.path.rstrip('/').rpartition('/')[0]}/{run.id}")
        if request.args.get("stream") == "true":
            return await self._resume(request, exchange, run)
        wait = preferred_wait(request.headers.get("prefer"))
        applied = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
        if wait and not is_terminal(run.status):
            async with self.runs.following(run, Cursor()) as tail:
                await tail.ended(wait)
                run = tail.run
        return await self._state(exchange, run, applied)

    async def _resume(self, request: Request, exchange: Exchange, run: Run) -> HTTPResponse | None:
        cursor = _cursor(request, run.id)
        async with self.runs.following(run, cursor) as tail:
            if tail.ending is not None and cursor.seq == len(tail.entries) + END_PLACE:
                # An EventSource that has everything comes back all the same; only 204 makes it stop.
                return HTTPResponse(b"", 204, exchange.headers())
            return await self._stream(request, exchange, tail, cursor.seq)

    async def _state(self, exchange: Exchange, run: Run, headers: dict[str, str]) -> HTTPResponse:
        state: JsonObject = {"id": run.answer_id, "status": run.status.value}
        if run.charged is not None:
            exchange.usage, exchange.charged = run.usage, run.charged
            headers = {**headers, "X-Sluice-Charged-Tokens": str(run.charged)}
        if run.error is not None:
            state["error"] = error_object(run.error.as_exception())
        elif run.status is Status.COMPLETED:
            completion = await self.runs.completion(run)
            state |= _completion(run, completion) if completion is not None else {}
        return json_response(orjson.dumps(state), exchange, headers)


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
        raise _reason(tail.ending.error)


def _reason(error: RunError | None) -> SluiceError:
    return error.as_exception() if error is not None else InternalError()


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
