"""Opaque tokens: their issuer is asked about each (RFC 7662), seldom, and by one at a time."""

import asyncio
import hashlib
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote_plus

from adapters.auth.claims import DEFAULT_RULES, ClaimRules, Verified, require_audience
from adapters.auth.issuer import Issuer, IssuerTrouble
from adapters.auth.refusal import invalid_token
from domain.errors import KeysUnavailable, NotAuthenticated
from domain.ports import Clock
from domain.tenants import Principal

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Introspection:
    """How an issuer is asked about tokens, and by whom. ``url`` is where, None for where its discovery says.

    Times are in seconds: a good token is ``believed`` for so long at most, and a refusal for ``refused``; ``timeout``
    is for one whole attempt. ``size`` is how many of each are remembered, ``waiting`` how many tokens may be asked
    about at the same time; of more, nothing is known.
    """

    client_id: str
    client_secret: str
    url: str | None = None
    believed: float = 30.0
    refused: float = 10.0
    timeout: float = 5.0
    size: int = 10_000
    waiting: int = 64

    @property
    def authorization(self) -> str:
        """https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1"""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {b64encode(pair.encode()).decode()}"


class Introspector:
    """Asks one issuer about its tokens, and takes those that are for one audience."""

    def __init__(
        self, issuer: Issuer, audience: str, terms: Introspection, clock: Clock, *, rules: ClaimRules = DEFAULT_RULES
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._terms = terms
        self._clock = clock
        self._rules = rules
        self._endpoint = terms.url

    async def ask(self, token: str) -> Verified:
        """Whom the token speaks for.

        Raises:
            NotAuthenticated: it is not active, not for this audience, or not good now.
            IssuerTrouble, TimeoutError: the issuer could not be asked.
        """
        async with asyncio.timeout(self._terms.timeout):
            if self._endpoint is None:
                self._endpoint = await self._issuer.endpoint("introspection_endpoint", "the introspection of tokens")
            form = {"token": token, "token_type_hint": "access_token"}
            claims = await self._issuer.post(self._endpoint, form, self._terms.authorization)
        if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
            raise IssuerTrouble("did not say whether a token is active")
        if not claims["active"]:
            raise invalid_token("The token is not active.")
        if claims.get("iss", self._issuer.address) != self._issuer.address:
            raise invalid_token("The token is of another issuer.")
        # Without this a token for any other service of the issuer would be good here, a refresh token included.
        require_audience(claims, self._audience)
        now = self._clock()
        # The issuer need not say until when; it is asked again soon enough.
        return self._rules.judge({"exp": int(now + self._terms.believed), **claims}, now)


class OpaqueTokens:
    """The verifier of opaque tokens. What an issuer said is remembered under the SHA-256 of the token.

    Good tokens and refused ones are remembered apart, so that no flood of the one pushes out the other.
    """

    def __init__(
        self,
        introspector: Introspector,
        terms: Introspection,
        clock: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._introspector = introspector
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._good: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[Principal | Exception]] = {}

    async def verify(self, token: str) -> Principal:
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._good.get(key)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        refused = self._refused.get(key)
        if refused is not None and self._monotonic() < refused[1]:
            raise invalid_token(refused[0])
        # Shielded: who waits may leave, the attempt is everybody's.
        outcome = await asyncio.shield(self._flights.get(key) or self._take_off(key, token))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Give up the attempts under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _take_off(self, key: bytes, token: str) -> "asyncio.Task[Principal | Exception]":
        if len(self._flights) >= self._terms.waiting:
            raise _unavailable()
        flight = self._flights[key] = asyncio.create_task(self._fly(key, token), name="introspection")
        return flight

    async def _fly(self, key: bytes, token: str) -> Principal | Exception:
        try:
            verified = await self._introspector.ask(token)
        except NotAuthenticated as error:
            _keep(self._refused, key, (error.message, self._monotonic() + self._terms.refused), self._terms.size)
            return error
        except (IssuerTrouble, TimeoutError) as error:
            return _unavailable(error)
        finally:
            del self._flights[key]
        age = min(self._terms.believed, verified.expires - self._clock())
        _keep(self._good, key, (verified.principal, self._monotonic() + age), self._terms.size)
        return verified.principal


def _keep(kept: "OrderedDict[bytes, V]", key: bytes, value: V, size: int) -> None:
    """Replaced at the end, so that the oldest comes first and goes first."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > size:
        kept.popitem(last=False)


def _unavailable(cause: Exception | None = None) -> KeysUnavailable:
    error = KeysUnavailable("The token cannot be checked: its issuer does not answer.")
    error.__cause__ = cause
    return error
