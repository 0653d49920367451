"""A collector of traces: takes OTLP over HTTP, read with OpenTelemetry's own classes of the protocol."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What was told so far; ``url`` is where to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def take(self, body: bytes) -> None:
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {it.value.string_value for it in told.resource.attributes if it.key == "service.name"}
            self.spans += [span for scope in told.scope_spans for span in scope.spans]

    def named(self, name: str) -> Span:
        """The one span of this name."""
        (found,) = self.spans_of(name)
        return found

    def spans_of(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def attributes(span: Span) -> dict[str, object]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value") or "string_value") for it in span.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on the loopback, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
