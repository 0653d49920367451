"""Reading a compact JSON Web Token without trusting it. Pure.

One strict reader for every token: no second parser may later see something else in the same bytes.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.auth.refusal import invalid_token

Claims: TypeAlias = dict[str, Any]

MAX_TOKEN_LENGTH = 8192
#: Three parts of unpadded base64url. https://www.rfc-editor.org/rfc/rfc7515#section-7.1
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KID = re.compile(r"[\x21-\x7e]{1,256}")
#: A JWT, or an access token that says so. https://www.rfc-editor.org/rfc/rfc9068#section-2.1
_TYPES = frozenset({"jwt", "at+jwt"})


@dataclass(frozen=True, slots=True)
class Unverified:
    """A well-formed token that nobody has vouched for yet. ``signed`` is what the signature is over.

    Whatever else the header holds is left behind: keys and addresses in it (``jwk``, ``jku``, ``x5c``, ``x5u``) are the
    word of whoever sent the token.
    """

    alg: str
    kid: str | None
    claims: Claims
    signed: bytes
    signature: bytes


def is_compact(token: str) -> bool:
    """Whether it has the shape of a signed token, good or not; anything else only its issuer can read."""
    return _COMPACT.fullmatch(token) is not None


def read(token: str) -> Unverified:
    """Take a token apart.

    Raises:
        NotAuthenticated: it is malformed, of another type, or wants an extension that nobody here knows.
    """
    if len(token) > MAX_TOKEN_LENGTH or not _COMPACT.fullmatch(token):
        raise invalid_token("The token is malformed.")
    head, payload, signature = token.split(".")
    try:
        header, claims, raw_signature = _object(decode(head)), _object(decode(payload)), decode(signature)
    except (ValueError, RecursionError) as error:
        raise invalid_token("The token is malformed.") from error
    alg, kid = _checked(header)
    return Unverified(alg, kid, claims, f"{head}.{payload}".encode(), raw_signature)


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of unpadded base64url; ValueError where it is not the one way to write them."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data) != text:
        raise ValueError("not canonical")
    return data


def _checked(header: Claims) -> tuple[str, str | None]:
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(alg, str) or (kid is not None and not (isinstance(kid, str) and _KID.fullmatch(kid))):
        raise invalid_token("The token is malformed.")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES:
        raise invalid_token("The token is not an access token.")
    # https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11: not understood, so refused.
    if "crit" in header:
        raise invalid_token("The token wants an extension that is not supported.")
    return alg, kid


def _object(data: bytes) -> Claims:
    # Decoded here: json.loads would take bytes for UTF-16 where they look like it.
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Claims:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
