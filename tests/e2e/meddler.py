"""A way to Redis on which commands and replies can get lost, one at a time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from tests.redis_server import RedisServer


class Fate(Enum):
    """What becomes of a command."""

    PASS = auto()
    WITHHOLD = auto()
    """It is never executed, and the connection stays silent."""
    LOSE_REPLY = auto()
    """It is executed, and the connection is cut where the reply should have come."""
    SWALLOW_REPLY = auto()
    """It is executed, and the connection stays silent."""


#: Decides over what a client has just sent; it is called in the meddler's own thread.
Judge = Callable[[bytes], Fate]


@dataclass(slots=True)
class Meddler:
    """Passes bytes on both ways, as ``judge`` wants. ``met`` is set at the first command that does not pass."""

    url: str = ""
    judge: Judge = field(default=lambda _: Fate.PASS)
    met: threading.Event = field(default_factory=threading.Event)
    meetings: int = 0

    def fate_of(self, command: bytes) -> Fate:
        fate = self.judge(command)
        if fate is not Fate.PASS:
            self.meetings += 1
            self.met.set()
        return fate

    def meddle(self, judge: Judge) -> None:
        self.met.clear()
        self.judge = judge

    def relent(self) -> None:
        self.judge = lambda _: Fate.PASS


@contextmanager
def meddling(server: RedisServer) -> Iterator[Meddler]:
    """A meddler in front of this server, in a thread of its own."""
    meddler, loop, started = Meddler(), asyncio.new_event_loop(), threading.Event()
    stopping = asyncio.Event()

    async def run() -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_relay(meddler, server.port, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        meddler.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        started.set()
        await stopping.wait()
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
        # Transports are closed by callbacks of their own.
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    started.wait(5)
    try:
        yield meddler
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


async def _relay(meddler: Meddler, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        # The server is gone, as its client finds out now.
        writer.transport.abort()
        return
    fates = [Fate.PASS]
    replies = asyncio.ensure_future(_pass_replies(fates, up_reader, writer))
    try:
        with suppress(OSError):
            while command := await reader.read(1 << 20):
                if fates[0] is Fate.PASS:
                    # Whatever becomes of one command is what becomes of those behind it: replies come in order.
                    fates[0] = meddler.fate_of(command)
                if fates[0] is not Fate.WITHHOLD:
                    up_writer.write(command)
                    await up_writer.drain()
    finally:
        replies.cancel()
        for end in (writer, up_writer):
            end.transport.abort()
        await asyncio.sleep(0)


async def _pass_replies(fates: list[Fate], up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while reply := await up_reader.read(1 << 20):
            if fates[0] is Fate.SWALLOW_REPLY:
                continue
            if fates[0] is Fate.LOSE_REPLY:
                break
            writer.write(reply)
            await writer.drain()
    writer.transport.abort()
