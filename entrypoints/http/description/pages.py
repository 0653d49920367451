"""The description over HTTP: the document, and Swagger UI, which comes with the gateway and asks nobody else.

``swagger/`` holds its files as ``scripts/vendor-swagger`` fetched them.
"""

import gzip
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import orjson
from sanic import HTTPResponse, Request

from domain.chat import JsonObject
from entrypoints.http.exchange import JSON, Endpoint, Exchange

_FOLDER = Path(__file__).with_name("swagger")
_DAY = "public, max-age=86400"
#: Nothing from anywhere else, and no code or style in the page itself; images in the stylesheet are data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
_ASSETS = {"swagger-ui.css": "text/css; charset=utf-8", "swagger-ui-bundle.js": "text/javascript; charset=utf-8"}


class Description:
    """Serves one OpenAPI document as it is, and as a page. It is made for the first who asks."""

    def __init__(self, describe: Callable[[], JsonObject]) -> None:
        self._document = cache(lambda: orjson.dumps(describe()))

    def endpoints(self) -> Mapping[str, Endpoint]:
        """What stands where."""
        assets: dict[str, Endpoint] = {f"/docs/{name}": partial(self._asset, name=name) for name in _ASSETS}
        return {"/openapi.json": self._openapi, "/docs": self._page, "/docs/start.js": self._start, **assets}

    async def _openapi(self, request: Request, exchange: Exchange) -> HTTPResponse:
        return HTTPResponse(self._document(), 200, {**exchange.headers(), "Cache-Control": "no-cache"}, JSON)

    async def _page(self, request: Request, exchange: Exchange) -> HTTPResponse:
        headers = {**exchange.headers(), **_SAFE, "Cache-Control": "no-cache"}
        return HTTPResponse(_PAGE.encode(), 200, headers, "text/html; charset=utf-8")

    async def _start(self, request: Request, exchange: Exchange) -> HTTPResponse:
        return HTTPResponse(_START.encode(), 200, {**exchange.headers(), **_SAFE}, "text/javascript; charset=utf-8")

    async def _asset(self, request: Request, exchange: Exchange, name: str) -> HTTPResponse:
        """A file of Swagger UI, compressed for whoever takes it so."""
        body, headers = _packed(name), {**exchange.headers(), **_SAFE, "Cache-Control": _DAY, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
        return HTTPResponse(body, 200, headers, _ASSETS[name])


@cache
def _packed(name: str) -> bytes:
    return (_FOLDER / f"{name}.gz").read_bytes()
