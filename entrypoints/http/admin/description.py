"""The admin API in OpenAPI, out of the table of its routes."""

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from domain.administration.access import Access
from domain.chat import JsonObject
from domain.scopes import ADMIN, ADMIN_READ, TENANT_ADMIN
from entrypoints.http.admin.routes import Route
from entrypoints.http.description.document import Operation, Parameter, Reply, document

_SAYS = """For operators: tenants, groups, balances, API keys, runs, targets. Needs a bearer token with one of the
scopes that each operation names. The documentation has the fields of bodies and queries."""
_SCOPES = {
    Access.READ: (ADMIN, ADMIN_READ),
    Access.CHANGE: (ADMIN,),
    Access.READ_OWN: (ADMIN, ADMIN_READ, TENANT_ADMIN),
    Access.CHANGE_OWN: (ADMIN, TENANT_ADMIN),
}
#: POST routes that end so do something with what is there, and take no body.
_VERBS = frozenset({"cancel", "drain", "undrain", "probe"})
#: POST routes that end so make something that was not there.
_COLLECTIONS = frozenset({"tenants", "groups", "keys"})
_HEADERS = {
    "If-Match": "The entity tag of the version that was seen, or `*`.",
    "Idempotency-Key": "Names the operation: the same one is carried out once.",
}
_REFUSED = {
    400: "The request is not what it must be.",
    401: "There is no good token.",
    403: "The token's scopes are not enough.",
    404: "There is no such thing.",
    503: "A store does not answer.",
}


class Flaw(BaseModel):
    pointer: str
    detail: str


class Problem(BaseModel):
    """What went wrong, by RFC 9457. ``code`` is stable; ``errors`` says where a document is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    param: str | None = None
    errors: list[Flaw] | None = None


class Thing(BaseModel):
    """An object; a list is one under ``data``."""

    model_config = ConfigDict(extra="allow")


def describe(version: str, routes: Sequence[Route]) -> JsonObject:
    """The description of these routes."""
    tags = {_tag(route): f"Everything below `/{_tag(route)}`." for route in routes}
    return document("Sluice, admin API", version, _SAYS, tags, [_operation(route) for route in routes])


def _operation(route: Route) -> Operation:
    name = f"{route.method.lower()} {route.path}"
    return Operation(
        route.method,
        route.full_path,
        re.sub(r"\W+", "_", name).strip("_"),
        _tag(route),
        route.about,
        _replies(route),
        says="Scopes of which one is enough: " + ", ".join(f"`{scope}`" for scope in _SCOPES[route.access]) + ".",
        parameters=_parameters(route),
        bodies=(Thing,) if _takes_a_body(route) else (),
    )


def _replies(route: Route) -> Mapping[int, Reply]:
    statuses = {**_REFUSED}
    if "If-Match" in route.about:
        statuses |= {412: "It was changed since.", 428: "There is no `If-Match`."}
    if route.method == "POST":
        statuses[409] = "It is there already, or was something else before."
    refusals = {status: Reply(says, (Problem,), form="application/problem+json") for status, says in statuses.items()}
    return {**_done(route), **refusals}


def _done(route: Route) -> Mapping[int, Reply]:
    if route.method == "DELETE":
        return {204: Reply("It is done.")}
    if route.method == "POST" and _last(route) in _COLLECTIONS:
        return {201: Reply("It was made.", (Thing,))}
    return {200: Reply("How it is now.", (Thing,))}


def _parameters(route: Route) -> Sequence[Parameter]:
    places = [Parameter(name, "path", "", {"type": "string"}) for name in re.findall(r"\{(\w+)\}", route.path)]
    headers = [
        Parameter(name, "header", says, {"type": "string"}, required=True)
        for name, says in _HEADERS.items()
        if name in route.about
    ]
    return (*places, *headers)


def _takes_a_body(route: Route) -> bool:
    return route.method == "PATCH" or (route.method == "POST" and _last(route) not in _VERBS)


def _tag(route: Route) -> str:
    return route.path.split("/")[1]


def _last(route: Route) -> str:
    return route.path.rpartition("/")[2]
