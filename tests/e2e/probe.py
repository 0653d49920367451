"""Asks ``/healthz`` a hundred times a second, in a process of its own; says how long each answer took.

``python -m tests.e2e.probe PORT SECONDS`` prints the latencies in milliseconds, as a JSON list.
"""

import json
import socket
import sys
import time

_ASKED = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
_INTERVAL = 0.01


def probe(port: int, seconds: float) -> list[float]:
    """Latencies in milliseconds over so many seconds, on one connection. A late answer delays the next question."""
    took = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            connection.sendall(_ASKED)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200 "):
                raise SystemExit("the service does not answer")
            took.append((time.monotonic() - began) * 1000)
            time.sleep(max(0.0, began + _INTERVAL - time.monotonic()))
    return took


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]), float(sys.argv[2]))))  # noqa: T201
