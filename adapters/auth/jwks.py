"""The keys of an OpenID issuer, over the network: asked for seldom, by one at a time, and kept through its outages."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from adapters.auth.issuer import Issuer, IssuerTrouble
from adapters.auth.keys import PublicKey, public_keys
from domain.errors import KeysUnavailable


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an issuer is asked, in seconds.

    Keys are ``fresh`` for so long, or for the issuer's own shorter ``max-age``; then they are asked for again while the
    old ones still serve, until these are ``stale``. Between two attempts lies ``rest``, however many tokens name a key
    that nobody knows, or ``retry`` where there is no key at all. ``timeout`` is for one whole attempt.
    """

    fresh: float = 300.0
    stale: float = 3600.0
    rest: float = 30.0
    retry: float = 1.0
    timeout: float = 5.0


class JwksCache:
    """The keys of one issuer. Give it a transport without cookies, proxies and redirects.

    Raises:
        ValueError: the issuer is no https address (http is for loopback only).
    """

    def __init__(
        self,
        issuer: str,
        transport: httpx.AsyncBaseTransport,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace = Pace(),
    ) -> None:
        self._issuer = Issuer(issuer, transport)
        self._clock = clock
        self._pace = pace
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched = self._fresh_until = self._tried = float("-inf")
        self._trouble = ""
        self._attempt: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed a token with this header; none where the issuer has no such key.

        Raises:
            KeysUnavailable: there are no keys, or the issuer could not be asked about this one.
        """
        await self._keep_fresh()
        found = self._suiting(kid, alg)
        if not found:
            await self._refresh()
            found = self._suiting(kid, alg)
        if not found and self._trouble:
            raise _unavailable()
        return found

    def trusts(self, key: PublicKey) -> bool:
        """Whether this is a key of the issuer still; when it is time to ask, that begins meanwhile."""
        now = self._clock()
        if now >= self._fetched + self._pace.stale:
            return False
        if now >= self._fresh_until:
            self._begin()
        return key in self._keys

    async def check(self) -> str | None:
        """None where there are keys, else why there are none."""
        try:
            await self._keep_fresh()
        except KeysUnavailable:
            return f"the issuer {self._trouble or 'has not answered yet'}"
        return None

    async def close(self) -> None:
        """Give up the attempt under way, if any."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt])

    def _suiting(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        return tuple(key for key in self._keys if key.suits(kid, alg))

    async def _keep_fresh(self) -> None:
        now = self._clock()
        if now >= self._fetched + self._pace.stale:
            self._keys = ()
            await self._refresh()
        elif now >= self._fresh_until:
            self._begin()
        if not self._keys:
            raise _unavailable()

    async def _refresh(self) -> None:
        # Shielded: who waits may leave, the attempt is everybody's.
        if (attempt := self._begin()) is not None:
            await asyncio.shield(attempt)

    def _begin(self) -> asyncio.Task[None] | None:
        """The attempt under way, else a new one; None where it is too early for that."""
        if self._attempt is not None and not self._attempt.done():
            return self._attempt
        now = self._clock()
        if now < self._tried + (self._pace.rest if self._keys else self._pace.retry):
            return None
        self._tried = now
        self._attempt = asyncio.create_task(self._fetch(), name="jwks")
        return self._attempt

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._pace.timeout):
                keys, fresh = await self._published()
        except TimeoutError:
            self._trouble = "did not answer in time"
            return
        except IssuerTrouble as error:
            self._trouble = error.reason
            return
        self._keys, self._trouble = keys, ""
        self._fetched = self._clock()
        self._fresh_until = self._fetched + fresh

    async def _published(self) -> tuple[tuple[PublicKey, ...], float]:
        document, max_age = await self._issuer.get(await self._issuer.endpoint("jwks_uri", "its keys"))
        keys = public_keys(document)
        if not keys:
            raise IssuerTrouble("publishes no usable key")
        return keys, min(self._pace.fresh, max_age)


class AnyKeys:
    """The key sets of all issuers as one dependency: ready when one of them is, so that none takes the others along."""

    name = "jwks"

    def __init__(self, caches: Sequence[JwksCache]) -> None:
        self._caches = tuple(caches)

    async def check(self) -> str | None:
        reasons = await asyncio.gather(*(cache.check() for cache in self._caches))
        return None if None in reasons else "; ".join(filter(None, reasons))

    async def flaw(self) -> str | None:
        """Nothing: keys that are not to be had now may be soon."""
        return None


def _unavailable() -> KeysUnavailable:
    return KeysUnavailable("The token cannot be checked: its issuer's keys are unavailable.")
