"""``python -m tests.llama --cache DIR --port 0``: make the model, serve it, say where, end on SIGTERM."""

import argparse
import signal
import threading
from pathlib import Path

from tests.llama import serve, tiny_gguf
from tests.provider.child import announce, when_orphaned


def main() -> None:
    arguments = _arguments()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if arguments.leashed:
        when_orphaned(stopped.set)
    model = tiny_gguf.cached(arguments.cache, arguments.variant)
    server = serve.listen(model, arguments.port, alias=arguments.variant, slots=arguments.slots)
    announce(server.port)
    stopped.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.llama", description="llama.cpp's server, a tiny model.")
    parser.add_argument("--cache", type=Path, required=True, help="directory that keeps the model's file")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--variant", choices=["tiny", "tools"], default="tiny", help="also the model's name")
    parser.add_argument("--slots", type=int, default=4, help="requests that run at once")
    parser.add_argument("--leashed", action="store_true", help="also end when standard input ends")
    return parser.parse_args()


if __name__ == "__main__":
    main()
