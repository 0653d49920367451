"""The bearer token of a request (RFC 6750): read strictly, verified when a rule first asks who is calling."""

import re

from sanic import Request

from domain.completions.callers import Authenticate
from domain.errors import AmbiguousToken, NotAuthenticated
from domain.ports import TokenVerifier
from domain.scopes import CHAT, READ, require_scope
from domain.tenants import Principal

_READING = frozenset({"GET", "HEAD"})
_BEARER = re.compile(r"bearer ([A-Za-z0-9._~+/=-]{1,8192})", re.IGNORECASE)
#: Two headers that somebody on the way has joined.
_JOINED = re.compile(r"bearer [^,]*,\s*bearer ", re.IGNORECASE)


def bearer_token(request: Request) -> str | None:
    """The token in the Authorization header, None where there is no such header.

    Raises:
        AmbiguousToken: the header is there twice.
        NotAuthenticated: it is not ``Bearer <token>``.
    """
    values = request.headers.getall("authorization", [])
    if not values:
        return None
    match = _BEARER.fullmatch(values[0])
    if len(values) > 1 or (match is None and _JOINED.match(values[0])):
        raise AmbiguousToken
    if match is None:
        raise NotAuthenticated("The Authorization header must be 'Bearer' and one token.", reason="invalid_token")
    return match[1]


def authentication(request: Request, verifier: TokenVerifier) -> Authenticate:
    """What tells, when asked, whom the request's token speaks for."""

    async def authenticate() -> Principal:
        token = bearer_token(request)
        if token is None:
            raise NotAuthenticated(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
        principal = await verifier.verify(token)
        require_scope(principal, READ if request.method in _READING else CHAT)
        return principal

    return authenticate


async def principal_if_any(request: Request, verifier: TokenVerifier) -> Principal | None:
    """Whom the token speaks for; None where there is no token, or none that is any good.

    For places where nobody needs one: an OpenAI client sends some key with every request, good or not.
    """
    try:
        return await authentication(request, verifier)()
    except NotAuthenticated:
        return None
