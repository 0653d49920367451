"""Who vouches for a token: a shared secret (HS256), or an issuer by the keys it publishes. Never one for the other."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from adapters.auth.claims import DEFAULT_RULES, ClaimRules, Verified, require_audience
from adapters.auth.compact import Unverified, read
from adapters.auth.jwks import JwksCache
from adapters.auth.keys import ALGORITHMS
from adapters.auth.refusal import invalid_token
from domain.ports import Clock
from domain.tenants import Principal

#: A key as long as the hash, at least. https://www.rfc-editor.org/rfc/rfc7518#section-3.2
MIN_SECRET_BYTES = 32
#: So many verdicts are kept, the newest.
MAX_VERDICTS = 10_000


class Verifier(Protocol):
    """One party that can vouch for tokens."""

    def takes(self, token: Unverified) -> bool:
        """Whether the token claims to be of this party."""
        ...

    async def verify(self, token: Unverified) -> Verified:
        """Whom a good token speaks for.

        Raises:
            NotAuthenticated: forged, not good now, or for another audience.
            KeysUnavailable: it cannot be told.
        """
        ...


class HmacVerifier:
    """Tokens signed with a secret that this gateway shares with whoever mints them: HS256, whatever ``iss`` they name.

    Raises:
        ValueError: the secret is shorter than 32 bytes.
    """

    def __init__(self, secret: bytes, clock: Clock, rules: ClaimRules = DEFAULT_RULES) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret must have {MIN_SECRET_BYTES} bytes at least")
        self._secret = secret
        self._clock = clock
        self._rules = rules

    def takes(self, token: Unverified) -> bool:
        return token.alg == "HS256"

    async def verify(self, token: Unverified) -> Verified:
        if not hmac.compare_digest(hmac.digest(self._secret, token.signed, "sha256"), token.signature):
            raise invalid_token("The token's signature is not right.")
        return self._rules.judge(token.claims, self._clock())


class IssuerVerifier:
    """Tokens of one OpenID issuer, for one audience, signed with a key of its key set."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: JwksCache,
        clock: Clock,
        *,
        rules: ClaimRules = DEFAULT_RULES,
        algorithms: Collection[str] = ALGORITHMS,
    ) -> None:
        if not set(algorithms) <= set(ALGORITHMS):
            raise ValueError(f"the algorithms of an issuer are {', '.join(ALGORITHMS)}")
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._clock = clock
        self._rules = rules
        self._algorithms = frozenset(algorithms)

    def takes(self, token: Unverified) -> bool:
        return token.alg in self._algorithms and token.claims.get("iss") == self._issuer

    async def verify(self, token: Unverified) -> Verified:
        keys = await self._keys.find(token.kid, token.alg)
        signer = next((key for key in keys if key.verifies(token.signed, token.signature)), None)
        if signer is None:
            raise invalid_token("The token's signature is not right.")
        require_audience(token.claims, self._audience)
        return replace(self._rules.judge(token.claims, self._clock()), stands=partial(self._keys.trusts, signer))


class Verifiers:
    """The verifier of signed tokens: each goes to the party that it names, and good ones are remembered.

    A verdict is kept under the SHA-256 of the whole token until that expires, or what vouched for it no longer does.
    """

    def __init__(self, verifiers: Sequence[Verifier], clock: Clock) -> None:
        self._verifiers = tuple(verifiers)
        self._clock = clock
        self._verdicts: OrderedDict[bytes, Verified] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verdicts.get(key)
        if known is not None and self._clock() < known.expires and known.stands():
            return known.principal
        verified = await self._verdict(read(token))
        self._remember(key, verified)
        return verified.principal

    async def _verdict(self, token: Unverified) -> Verified:
        for verifier in self._verifiers:
            if verifier.takes(token):
                return await verifier.verify(token)
        raise invalid_token("The token's issuer or algorithm is not accepted here.")

    def _remember(self, key: bytes, verified: Verified) -> None:
        # Replaced at the end, so that the oldest comes first and goes first.
        self._verdicts.pop(key, None)
        self._verdicts[key] = verified
        if len(self._verdicts) > MAX_VERDICTS:
            self._verdicts.popitem(last=False)
