"""Every address of the service, in one table: a new one has to be written down here, and looked at."""

from config.composition import build
from config.settings import Settings
from entrypoints.http.assembly import assemble

SECRET = "a secret that only the tests know, 32 bytes and more"
ROUTES = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/start.js"),
    ("GET", "/docs/swagger-ui.css"),
    ("GET", "/docs/swagger-ui-bundle.js"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions/<run_id:str>"),
    ("POST", "/v1/chat/completions/<run_id:str>/cancel"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/<name:path>"),
    ("POST", "/<scope:str>/v1/chat/completions"),
    ("GET", "/<scope:str>/v1/chat/completions/<run_id:str>"),
    ("POST", "/<scope:str>/v1/chat/completions/<run_id:str>/cancel"),
    ("GET", "/<scope:str>/v1/models"),
    ("GET", "/<scope:str>/v1/models/<name:path>"),
}


def test_every_route_is_in_the_table() -> None:
    app = assemble(build(Settings.model_validate({"jwt_secret": SECRET})), name="routes")

    served = {(method, f"/{route.path}") for route in app.router.routes for method in route.methods}
    assert served == ROUTES
