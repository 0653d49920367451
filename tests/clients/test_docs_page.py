"""The page about the API in a real browser, which lets it do nothing that its policy does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.clients.chromium import seen
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_page_shows_every_operation_and_the_console_stays_empty(gateway: GatewayProcess, tmp_path: Path) -> None:
    described = httpx.get(f"{gateway.origin}/openapi.json", trust_env=False).json()

    document, console = seen(f"{gateway.origin}/docs", tmp_path)

    assert console == []
    assert document.count('class="opblock-summary-path"') == sum(len(path) for path in described["paths"].values())


def test_a_browser_tells_of_what_a_policy_forbids(tmp_path: Path) -> None:
    with forbidding() as address:
        _, console = seen(address, tmp_path)

    assert "Content Security Policy" in " ".join(console)


@contextmanager
def forbidding() -> Iterator[str]:
    """A page that breaks its own policy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Security-Policy", "default-src 'none'")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<script>document.title = 'never'</script>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
