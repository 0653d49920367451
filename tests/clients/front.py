"""A web server before the gateway, as the backend of an application is one.

It serves pages, adds to each request what says who is calling, and loses connections where a test wants them lost. A
page tells the test what it has seen by posting it.
"""

import json
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Where a page posts what it has seen.
TOLD = "/_told"
#: Said of one connection only, so they are not passed on.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})
#: Seconds of silence from the gateway that are none of its own.
_PATIENCE = 90.0


@dataclass(slots=True)
class Exchange:
    """One request that went through, and the part of its answer's body that came back."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a connection in the middle of the event behind the ``after``-th of a stream.

    ``cleanly`` means that the body is ended in good form, as a proxy does that lost its own connection: a client cannot
    tell that from a stream that is over.
    """

    after: int
    cleanly: bool = False


@dataclass(slots=True)
class Front:
    """A running front. ``cuts`` holds what befalls each of the streams to come, in turn; None is nothing."""

    origin: str = ""
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    cuts: list[Cut | None] = field(default_factory=list)
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
    server = _Server(running, gateway.removeprefix("http://"), headers or {})
    running.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """A thread for each connection. None is waited for: a client may be gone while the gateway is still silent."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, running: Front, gateway: str, added: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.running = running
        self.gateway = gateway
        self.added = added


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        pages = self.server.running.pages
        path = self.path.partition("?")[0]
        if path in pages:
            content, media_type = pages[path]
            self._answer(200, content.encode(), media_type)
        elif path == "/favicon.ico":
            self._answer(404, b"", "text/plain")
        else:
            self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == TOLD:
            self.server.running.told.put(json.loads(body))
            self._answer(200, b"", "text/plain")
        else:
            self._pass_on(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: what went through is kept."""

    def _answer(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _pass_on(self, body: bytes) -> None:
        exchange = Exchange(self.command, self.path, dict(self.headers.items()))
        self.server.running.exchanges.append(exchange)
        connection = HTTPConnection(self.server.gateway, timeout=_PATIENCE)
        # One request on each connection, so that a cut one is nobody else's.
        self.close_connection = True
        # An OSError is a client that has left, which tests do on purpose.
        with closing(connection), suppress(OSError):
            connection.request(
                self.command, self.path, body or None, {**_kept(self.headers.items()), **self.server.added}
            )
            self._relay(exchange, connection.getresponse())

    def _relay(self, exchange: Exchange, response: HTTPResponse) -> None:
        exchange.status = response.status
        cut = self._cut_for(response)
        self.send_response_only(response.status)
        for name, value in _kept(response.getheaders()).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        if response.status == 204:
            self.end_headers()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for sent in _up_to_cut(exchange, response, cut):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
        if cut is None or cut.cleanly:
            self.wfile.write(b"0\r\n\r\n")

    def _cut_for(self, response: HTTPResponse) -> Cut | None:
        cuts = self.server.running.cuts
        is_stream = response.headers.get_content_type() == "text/event-stream"
        return cuts.pop(0) if is_stream and cuts else None


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP}


def _up_to_cut(exchange: Exchange, response: HTTPResponse, cut: Cut | None) -> Iterator[bytes]:
    """The body as it comes, up to its end or to the cut; what was given is noted in the exchange."""
    while data := response.read1(65_536):
        end = None if cut is None else _place(exchange.body + data, cut.after)
        sent = data if end is None else data[: max(0, end - len(exchange.body))]
        exchange.body += sent
        # A chunk without bytes would be the end of the body.
        if sent:
            yield sent
        if len(sent) < len(data):
            return


def _place(body: bytes, events: int) -> int | None:
    """Where a body is cut: some bytes behind so many events, so that readers meet half of one. None: not in here."""
    at = 0
    for _ in range(events):
        end = body.find(b"\n\n", at)
        if end < 0:
            return None
        at = end + 2
    return at + 40
