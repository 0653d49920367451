"""Public keys as an issuer publishes them, and what each may verify.

A key says by its type which algorithm it is for; a token's header is never asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.auth.compact import decode

if TYPE_CHECKING:
    from joserfc.jwk import Key

#: Smaller moduli are refused. https://www.rfc-editor.org/rfc/rfc7518#section-3.3
MIN_RSA_BITS = 2048
MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of key: the members that make it, the names its algorithm goes by, and joserfc's name among them."""

    members: tuple[str, ...]
    algorithms: tuple[str, ...]
    verifier: str


#: By ``kty`` and ``crv``. There is no symmetric key among them, so a published one can never verify an HMAC.
#: EdDSA is the former name of Ed25519: https://www.rfc-editor.org/rfc/rfc9864
KINDS: Mapping[tuple[str, str | None], Kind] = {
    ("RSA", None): Kind(("kty", "n", "e"), ("RS256",), "RS256"),
    ("EC", "P-256"): Kind(("kty", "crv", "x", "y"), ("ES256",), "ES256"),
    ("OKP", "Ed25519"): Kind(("kty", "crv", "x"), ("EdDSA", "Ed25519"), "Ed25519"),
}
ALGORITHMS = tuple(name for kind in KINDS.values() for name in kind.algorithms)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may verify signatures. ``kid`` is the name it was published under, if any.

    Two are the same that were published with the same name, sort and ``material``, however often they were read.
    """

    kid: str | None
    kind: Kind
    material: tuple[str, ...]
    key: "Key" = field(compare=False)

    def suits(self, kid: str | None, alg: str) -> bool:
        """Whether a token with this header can be signed with it; one that names no key fits any of its sort."""
        return alg in self.kind.algorithms and kid in (None, self.kid)

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        from joserfc.jws import JWSRegistry

        return JWSRegistry.algorithms[self.kind.verifier].verify(signed, signature, self.key)


def public_keys(document: object) -> tuple[PublicKey, ...]:
    """The usable keys of a JWK set. What is unusable is left out, as RFC 7517 asks; it does not spoil the rest.

    https://www.rfc-editor.org/rfc/rfc7517#section-5
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    return tuple(_usable(listed[:MAX_KEYS])) if isinstance(listed, list) else ()


def _usable(listed: list[Any]) -> Iterator[PublicKey]:
    for jwk in listed:
        kind = _kind(jwk) if isinstance(jwk, dict) else None
        key = _imported(jwk, kind) if kind is not None else None
        if kind is not None and key is not None:
            kid = jwk.get("kid")
            material = tuple(str(jwk[member]) for member in kind.members)
            yield PublicKey(kid if isinstance(kid, str) else None, kind, material, key)


def _kind(jwk: dict[str, Any]) -> Kind | None:
    kty, crv, alg, uses = jwk.get("kty"), jwk.get("crv"), jwk.get("alg"), jwk.get("key_ops", ["verify"])
    kind = KINDS.get((kty, crv)) if isinstance(kty, str) and isinstance(crv, str | None) else None
    if kind is None or (alg is not None and alg not in kind.algorithms):
        return None
    # A key whose private half is public proves nothing.
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses or "d" in jwk:
        return None
    return kind


def _imported(jwk: dict[str, Any], kind: Kind) -> "Key | None":
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if kind.verifier == "RS256" and _bits(jwk.get("n")) < MIN_RSA_BITS:
        return None
    try:
        return import_key({member: jwk[member] for member in kind.members})
    except (JoseError, ValueError, TypeError, LookupError):
        return None


def _bits(number: object) -> int:
    try:
        return int.from_bytes(decode(str(number))).bit_length()
    except ValueError:
        return 0
