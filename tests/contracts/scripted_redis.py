"""A server that speaks Redis's protocol, and misbehaves as a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hiredis import Reader

Command = Sequence[bytes]
#: The bytes that answer a command; None cuts the connection instead.
Answer = Callable[[Command], bytes | None]

#: What everybody does who has just come.
GREETINGS = {b"AUTH": b"+OK\r\n", b"SELECT": b"+OK\r\n", b"PING": b"+PONG\r\n"}


@dataclass(slots=True)
class ScriptedRedis:
    """``answer`` answers what is no greeting. ``heard`` are all commands; ``connections`` how many were made,
    ``reads`` how often something came.
    """

    port: int = 0
    answer: Answer = field(default=lambda _: b"+OK\r\n")
    greets: bool = True
    heard: list[Command] = field(default_factory=list)
    connections: int = 0
    reads: int = 0
    open: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        parser = Reader()
        try:
            while data := await reader.read(65_536):
                self.reads += 1
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    answer = self._answer(command)
                    if answer is None:
                        return
                    writer.write(answer)
                    await writer.drain()
        except ConnectionError:
            return
        finally:
            self.open -= 1
            writer.close()

    def _answer(self, command: Command) -> bytes | None:
        self.heard.append(command)
        if command[0] in GREETINGS:
            return GREETINGS[command[0]] if self.greets else None
        return self.answer(command)


@asynccontextmanager
async def scripted_redis(tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedRedis]:
    scripted = ScriptedRedis()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(scripted.serve(reader, writer))
        serving.add(task)
        await asyncio.wait((task,))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
