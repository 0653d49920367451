"""The token verifier of the gateway: each kind of bearer token goes to whoever can judge it, and to nobody else."""

from collections.abc import Sequence

from adapters.auth.compact import is_compact
from adapters.auth.refusal import invalid_token
from domain import keys
from domain.ports import TokenVerifier
from domain.tenants import Principal

#: How secret keys begin, here and with providers. Those of others must not be shown to anybody.
_ANY_KEY = "sk-"


class BearerTokens:
    """API keys, signed tokens, and opaque ones where an issuer can be asked about them.

    A provider's key, sent by a client that is set up for it, goes nowhere.
    """

    def __init__(self, api_keys: TokenVerifier, signed: TokenVerifier, opaque: Sequence[TokenVerifier] = ()) -> None:
        self._api_keys = api_keys
        self._signed = signed
        # Nobody can see whose an opaque token is, and it must be shown to no issuer but its own.
        if len(opaque) > 1:
            raise ValueError("only one issuer can be asked about opaque tokens")
        self._opaque = opaque[0] if opaque else signed

    async def verify(self, token: str) -> Principal:
        if token.startswith(keys.PREFIX):
            return await self._api_keys.verify(token)
        if token.startswith(_ANY_KEY):
            raise invalid_token("The API key is not one of this gateway.")
        return await (self._signed if is_compact(token) else self._opaque).verify(token)
