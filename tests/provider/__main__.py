"""``python -m tests.provider --port 0``: listen, say where in one line of JSON, end on SIGTERM."""

import argparse
import asyncio
import signal

from tests.provider.child import announce, when_orphaned
from tests.provider.server import ScriptedProvider


async def serve(port: int, leashed: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await ScriptedProvider().listen(port)
    if leashed:
        when_orphaned(lambda: loop.call_soon_threadsafe(stopped.set))
    announce(server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.provider", description="The scripted provider.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--leashed", action="store_true", help="also end when standard input ends")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.leashed))


if __name__ == "__main__":
    main()
