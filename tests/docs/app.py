"""The application's routes, and the documented ones in the same form."""

import itertools
import re
from functools import cache
from typing import Any

from config.composition import build
from config.settings import Settings
from entrypoints.http.app import App
from entrypoints.http.assembly import assemble
from tests.docs.pages import codes, page

_numbers = itertools.count(1)
_PLACE = re.compile(r"<[^>]*>|\{[^}]*\}")


@cache
def application() -> App:
    """An application that is never served."""
    app = assemble(build(Settings()), name=f"sluice-docs-{next(_numbers)}")
    app.router.finalize()
    return app


def routes() -> set[tuple[str, str]]:
    """Method and path of every route, each place in a path as ``{}``."""
    return {
        (method, _PLACE.sub("{}", f"/{route.path.lstrip('/')}"))
        for route in application().router.routes
        for method in route.methods
    }


def documented_routes() -> set[tuple[str, str]]:
    rows = page("docs/surfaces.md").section("Paths").rows("method", "path")
    return {(row["method"], _PLACE.sub("{}", codes(row["path"])[0])) for row in rows}


def serves(method: str, path: str) -> Any:
    """The route that takes a request; an exception of Sanic's where there is none."""
    route, _, _ = application().router.get(path, method, None)
    return route
