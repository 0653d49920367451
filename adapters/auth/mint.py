"""Tokens of our own making, for the demo and for tests."""

import hmac
import json
from collections.abc import Iterable, Mapping

from adapters.auth.compact import encode
from domain.tenants import GroupId, TenantId, UserId

_HEADER = {"alg": "HS256", "typ": "JWT"}


def mint(
    secret: bytes,
    user: UserId,
    *,
    tenants: Iterable[TenantId],
    groups: Mapping[TenantId, GroupId],
    lifetime: int,
    now: float,
    scopes: Iterable[str] = (),
) -> str:
    """An HS256 token with the default claims, good for ``lifetime`` seconds from ``now`` (Unix seconds)."""
    claims = {
        "sub": user,
        "tenants": sorted(tenants),
        "groups": dict(groups),
        "scope": " ".join(scopes),
        "iat": int(now),
        "exp": int(now) + lifetime,
    }
    signed = f"{_part(_HEADER)}.{_part(claims)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _part(value: Mapping[str, object]) -> str:
    return encode(json.dumps(value, separators=(",", ":")).encode())
