"""Tokens as nobody should send them: each part is made byte by byte, and signed as it is."""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from adapters.auth.compact import encode

NOW = 1_900_000_000
SECRET = b"a secret of at least 32 bytes, this one"
GOOD_CLAIMS = {"sub": "ada", "tenants": ["acme"], "exp": NOW + 600}

Signer = Callable[[bytes], bytes]


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def by_secret(secret: bytes) -> Signer:
    return lambda signed: hmac.digest(secret, signed, "sha256")


def by_key(key: Key, alg: str) -> Signer:
    return lambda signed: JWSRegistry.algorithms[alg].sign(signed, key)


def token(header: object, claims: object, sign: Signer) -> str:
    """A compact token of these parts; bytes go in as they are, anything else as JSON."""
    signed = f"{encode(_raw(header))}.{encode(_raw(claims))}"
    return f"{signed}.{encode(sign(signed.encode()))}"


def hs256(claims: object, **header: object) -> str:
    """A token signed with the right secret, whatever it says."""
    return token({"alg": "HS256", "typ": "JWT"} | header, claims, by_secret(SECRET))


def private_key(kind: str, number: int = 0) -> Key:
    """A key to sign with; the same for the same arguments, since RSA keys take their time."""
    return _private_key(kind, number)


@cache
def _private_key(kind: str, _: int) -> Key:
    if kind == "RSA":
        return RSAKey.generate_key(2048)
    return ECKey.generate_key("P-256") if kind == "EC" else OKPKey.generate_key("Ed25519")


def published(key: Key, kid: str | None = None, **members: object) -> dict[str, Any]:
    """The public half of a key as an entry of a key set."""
    return dict(key.as_dict(private=False)) | ({} if kid is None else {"kid": kid}) | members


def _raw(part: object) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part).encode()
