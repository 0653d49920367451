"""The admin API's routes as a table, and a request as handlers see it: who asks is settled before anything else."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import orjson
from sanic import HTTPResponse, Request

from domain.administration.access import Access, Operator, operator_of, require_access
from domain.chat import JsonObject
from domain.errors import InvalidRequest
from domain.ids import is_id
from domain.ports import TokenVerifier
from domain.tokens import MAX_TOKENS
from entrypoints.http.auth import authentication
from entrypoints.http.draft import receive, require_json
from entrypoints.http.errors import Dialect, HttpRefusal, Manners
from entrypoints.http.exchange import Exchange, json_response
from entrypoints.http.json_body import read_json

MANNERS = Manners(Dialect.PROBLEM, model_status=404)
PREFIX = "/admin/v1"
#: One strong entity tag of ours. https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3
_ETAG = re.compile(r'\s*"([\x21\x23-\x7e]*)"\s*')


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the admin API of somebody who may make it. ``parts`` are the places in its path."""

    request: Request
    exchange: Exchange
    operator: Operator
    parts: Mapping[str, str]

    def body(self) -> JsonObject:
        """The JSON object in the body.

        Raises:
            HttpRefusal, InvalidRequest: it is none.
        """
        require_json(self.request)
        return read_json(self.request.body)

    def fields(self, required: Mapping[str, type], optional: Mapping[str, type] | None = None) -> JsonObject:
        """The body, which has the required fields and at most the optional ones besides, of these types.

        Raises:
            HttpRefusal, InvalidRequest: it is otherwise.
        """
        body, kinds = self.body(), {**required, **(optional or {})}
        for name in body.keys() - kinds.keys():
            raise InvalidRequest(f"Unknown field: '{name}'.", param=name, code="unknown_parameter")
        for name in required.keys() - body.keys():
            raise InvalidRequest(f"Missing field: '{name}'.", param=name, code="missing_required_parameter")
        for name, value in body.items():
            # To Python, true is an integer.
            if type(value) is not kinds[name]:
                raise InvalidRequest(f"'{name}' has the wrong type.", param=name, code="invalid_type")
        return body

    def query(self, *names: str) -> Mapping[str, str]:
        """What the query gives for these names; it may have no others.

        Raises:
            InvalidRequest: it has others, or one of these twice.
        """
        given: dict[str, list[str]] = self.request.args
        for name, values in given.items():
            if name not in names or len(values) != 1:
                raise InvalidRequest(f"Unknown or repeated parameter: '{name}'.", param=name, code="unknown_parameter")
        return {name: values[0] for name, values in given.items()}

    def version(self) -> str | None:
        """The version that the sender has seen, by ``If-Match``; None for ``*``, whichever there is.

        Raises:
            HttpRefusal: there is none, or it is no strong entity tag.
        """
        given = self.request.headers.get("if-match")
        if given is None:
            raise HttpRefusal(
                "Send If-Match with the ETag that you have seen, or with *.", status=428, code="precondition_required"
            )
        if given.strip() == "*":
            return None
        match = _ETAG.fullmatch(given)
        if match is None:
            raise HttpRefusal("If-Match must be one strong entity tag.", status=400, code="invalid_if_match")
        return match[1]

    def operation(self) -> str:
        """The operation that the sender names by ``Idempotency-Key``: the same one is carried out once.

        Raises:
            HttpRefusal: there is none, or it is no id.
        """
        given = self.request.headers.get("idempotency-key")
        if not is_id(given):
            raise HttpRefusal(
                "Send Idempotency-Key: 1 to 128 letters, digits, '.', '_', '@' and '-'.",
                status=400,
                code="invalid_operation",
            )
        return str(given)

    def answer(self, value: object, *, status: int = 200, version: str | None = None) -> HTTPResponse:
        """A JSON answer that nobody keeps; with an entity tag where it has a version."""
        headers = {"Cache-Control": "no-store", **({"ETag": f'"{version}"'} if version else {})}
        return json_response(orjson.dumps(value), self.exchange, headers, status=status)

    def done(self) -> HTTPResponse:
        """That there is nothing to say."""
        return HTTPResponse(status=204, headers={**self.exchange.headers(), "Cache-Control": "no-store"})


Handler: TypeAlias = Callable[[Ask], Awaitable[HTTPResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route: ``path`` is below the prefix, with its places in braces; ``about`` says what it does."""

    method: str
    path: str
    access: Access
    handler: Handler
    about: str

    @property
    def full_path(self) -> str:
        return PREFIX + self.path

    @property
    def sanic_path(self) -> str:
        return re.sub(r"\{(\w+)\}", r"<\1:str>", self.full_path)


def endpoint(route: Route, verifier: TokenVerifier, parts: Mapping[str, str]) -> Any:
    """What answers a request to the route, once its token has been found good for it."""
    decoded = {name: unquote(value) for name, value in parts.items()}

    async def answer(request: Request, exchange: Exchange) -> HTTPResponse:
        principal = await authentication(request, verifier)()
        tenant = decoded.get("tenant_id")
        require_access(principal, route.access, tenant)
        exchange.tenant = tenant if is_id(tenant) else None
        await receive(request)
        return await route.handler(Ask(request, exchange, operator_of(principal, exchange.request_id), decoded))

    return answer


def whole_number(given: Mapping[str, str], name: str, *, default: int, most: int = MAX_TOKENS) -> int:
    """A number in a query, 1 at least.

    Raises:
        InvalidRequest: it is none, or too large.
    """
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:20]) <= most:
        raise InvalidRequest(f"'{name}' must be a whole number from 1 to {most}.", param=name, code="invalid_value")
    return int(text)
