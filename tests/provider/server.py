"""The server: connections, routes, and the record of every request."""

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

from tests.provider.answers import ANSWERS
from tests.provider.ask import Ask
from tests.provider.delivery import Behaviour, answering
from tests.provider.exchange import Exchange, Seen
from tests.provider.faults import FAULTS
from tests.provider.habits import HABITS
from tests.provider.names import Name, parse
from tests.provider.refusals import REFUSALS, error_body, flap
from tests.provider.wire import BadRequest, ClientGone, Inbox, Request, head, read_request

BEHAVIOURS: Mapping[str, Behaviour] = {
    **{name: answering(answer) for name, answer in ANSWERS.items()},
    **HABITS,
    **REFUSALS,
    **FAULTS,
}
#: Behaviours whose name goes on with a value; a value behind any other is a misspelt name.
VALUED = frozenset({"status", "finish", "slow", "usage-bad", "redirect"})
KNOWN = frozenset({*BEHAVIOURS, "flap"})

COMPLETIONS = re.compile(r"(?:/as/(?P<model>[^/?]+))?(?:/v1)?/chat/completions")
MODELS = re.compile(r"(?:/as/[^/?]+)?(?:/v1)?/models")

#: A soak sends far more requests than anybody asks about.
REMEMBERED = 20_000


@dataclass(slots=True)
class ScriptedProvider:
    """One server with its memory."""

    seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    turns: Counter[str] = field(default_factory=Counter)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _connections: "count[int]" = field(default_factory=lambda: count(1))

    async def listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=1024)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request after request until either side closes."""
        inbox, number = Inbox(reader), next(self._connections)
        try:
            while await self._turn(inbox, writer, number):
                pass
        except BadRequest:
            writer.write(head(400, [("content-length", "0"), ("connection", "close")]))
        except (ClientGone, ConnectionError):
            pass
        finally:
            writer.close()

    async def _turn(self, inbox: Inbox, writer: asyncio.StreamWriter, connection: int) -> bool:
        """Answer one request; whether another may follow on this connection."""
        request = await read_request(inbox)
        seen = self._note(request, connection)
        exchange = Exchange(request, seen, writer)
        seen.disconnected = not await _unless_gone(inbox, self._route(exchange))
        seen.ended_at = time.monotonic()
        return not (exchange.closing or seen.disconnected or request.wants_close)

    def _note(self, request: Request, connection: int) -> Seen:
        """Remember ``request``, unless it is about what is remembered."""
        own = request.path == "/_seen"
        seen = Seen(
            number=0 if own else next(self._numbers),
            connection=connection,
            at=time.monotonic(),
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=_parsed(request.body),
        )
        if not own:
            self.seen.append(seen)
        return seen

    async def _route(self, exchange: Exchange) -> None:
        request = exchange.request
        match = COMPLETIONS.fullmatch(request.path)
        if request.path == "/_seen":
            await self._memory(exchange)
        elif request.headers.get("authorization") == "Bearer bad":
            await _refuse(exchange, 401, "Incorrect API key provided: bad.", "invalid_api_key")
        elif match and request.method == "POST":
            await self._complete(exchange, match["model"])
        elif MODELS.fullmatch(request.path) and request.method == "GET":
            await exchange.json(200, _models())
        else:
            await _refuse(exchange, 404, f"Invalid URL ({request.method} {request.path})")

    async def _memory(self, exchange: Exchange) -> None:
        if exchange.request.method == "DELETE":
            self.seen.clear()
            self.turns.clear()
        # The standard json keeps integers of any size, as they came.
        remembered = json.dumps([asdict(seen) for seen in self.seen])
        await exchange.respond(200, remembered.encode())

    async def _complete(self, exchange: Exchange, override: str | None) -> None:
        model = override or str(exchange.body.get("model"))
        name = parse(model, KNOWN)
        if not exchange.body:
            await _refuse(exchange, 400, "We could not parse the JSON body of your request.")
        elif name is None or (name.value and name.behaviour not in VALUED):
            message = f"The model `{model}` does not exist or you do not have access to it."
            await _refuse(exchange, 404, message, "model_not_found")
        else:
            await self._behave(exchange, name, model)

    async def _behave(self, exchange: Exchange, name: Name, model: str) -> None:
        ask = Ask(exchange.body, name, exchange.seen.number, int(time.time()))
        if name.behaviour == "flap":
            self.turns[model] += 1
            await flap(exchange, ask, self.turns[model])
        else:
            await BEHAVIOURS[name.behaviour](exchange, ask)


async def _refuse(exchange: Exchange, status: int, message: str, code: str | None = None) -> None:
    await exchange.json(status, error_body(message, "invalid_request_error", code))


async def _unless_gone(inbox: Inbox, answer: Coroutine[Any, Any, None]) -> bool:
    """Run ``answer`` until it ends or the client leaves; whether it came to its end."""
    answering, leaving = asyncio.create_task(answer), asyncio.create_task(inbox.until_gone())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            return False
        answering.result()
    except ConnectionError:
        return False
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
    return True


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")


def _models() -> dict[str, Any]:
    listed = [{"id": name, "object": "model", "created": 1700000000, "owned_by": "scripted"} for name in ANSWERS]
    return {"object": "list", "data": listed}
