"""A web server before the gateway, as the backend of an application is one.

It serves pages, adds to each request what says who is calling, and loses connections where a test wants them lost. A
page tells the test what it has seen by posting it.
"""

import json
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Where a page posts what it has seen.
TOLD = "/_told"
#: Said of one connection only, so they are not passed on.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})


@dataclass(slots=True)
class Exchange:
    """One request that went through, and the part of its answer's body that came back."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int = 0
    body: bytes = b""


@dataclass(slots=True)
class Front:
    """A running front. ``cuts`` holds, for each of the streams to come, after how many events it is cut."""

    origin: str = ""
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    told: "queue.Queue[Any]" = field(default_factory=queue.Queue)

    def serve(self, path: str, content: str, media_type: str = "text/html; charset=utf-8") -> str:
        """Serve this text at ``path``; the address that it has then."""
        self.pages[path] = (content, media_type)
        return self.origin + path

    @property
    def streams(self) -> Sequence[Exchange]:
        """Requests for streams that go on with one that began before."""
        return [exchange for exchange in self.exchanges if "stream=true" in exchange.target]


@contextmanager
def front(gateway: str, headers: Mapping[str, str] | None = None) -> Iterator[Front]:
    """A front before the gateway at this origin, which adds these headers to each request."""
    running = Front()
    added = dict(headers or {})
    host = gateway.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
            page = self.path.partition("?")[0]
            if page in running.pages:
                content, media_type = running.pages[page]
                self._answer(200, content.encode(), media_type)
            elif self.path == "/favicon.ico":
                self._answer(404, b"", "text/plain")
            else:
                self._pass_on(b"")

        def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == TOLD:
                running.told.put(json.loads(body))
                self._answer(204, b"", "text/plain")
            else:
                self._pass_on(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            """Say nothing: what went through is kept."""

        def _answer(self, status: int, content: bytes, media_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _pass_on(self, body: bytes) -> None:
            exchange = Exchange(self.command, self.path, dict(self.headers.items()))
            running.exchanges.append(exchange)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            connection = HTTPConnection(host, timeout=90)
            # One request on each connection, so that a cut one is nobody else's.
            self.close_connection = True
            try:
                connection.request(self.command, self.path, body or None, kept | added)
                self._relay(exchange, connection.getresponse())
            except OSError:
                # The client has left, which tests do on purpose.
                return
            finally:
                connection.close()

        def _relay(self, exchange: Exchange, response: HTTPResponse) -> None:
            exchange.status = response.status
            is_stream = response.headers.get_content_type() == "text/event-stream"
            left = running.cuts.pop(0) if is_stream and running.cuts else None
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            if response.status != 204:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if response.status == 204:
                return
            while data := response.read1(65_536):
                sent = data if left is None else _up_to_event(exchange.body, data, left)
                exchange.body += sent
                # A chunk without bytes would be the end of the body.
                if sent:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
                if len(sent) < len(data):
                    # The body stays unterminated, as where a connection breaks.
                    return
            self.wfile.write(b"0\r\n\r\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _up_to_event(before: bytes, data: bytes, events: int) -> bytes:
    """What of ``data`` is still sent where the stream breaks in the middle of the event behind that many."""
    whole = before + data
    at = -1
    for _ in range(events):
        at = whole.find(b"\n\n", at + 1)
        if at < 0:
            return data
    # Some bytes of the next event, so that readers meet half of one.
    end = at + 2 + 40
    return data if len(whole) <= end else whole[len(before) : max(end, len(before))]
