"""The keys of an OpenID issuer, over the network: asked for seldom, by one at a time, and kept through its outages."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from adapters.auth.keys import PublicKey, public_keys
from domain.errors import KeysUnavailable

#: https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
DISCOVERY = "/.well-known/openid-configuration"
MAX_BODY = 1 << 20
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "sluice"}
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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
    """The keys of one issuer; ready when there is one. Give it a transport without cookies, proxies and redirects.

    Raises:
        ValueError: the issuer is no https address (http is for loopback only).
    """

    name = "jwks"

    def __init__(
        self,
        issuer: str,
        transport: httpx.AsyncBaseTransport,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace = Pace(),
    ) -> None:
        if not _is_safe(issuer):
            raise ValueError("the issuer must be an https address")
        self._issuer = issuer
        self._transport = transport
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

    async def check(self) -> str | None:
        """None where there are keys, else why there are none."""
        try:
            await self._keep_fresh()
        except KeysUnavailable:
            return f"the issuer {self._trouble or 'has not answered yet'}"
        return None

    async def flaw(self) -> str | None:
        """Nothing: keys that are not to be had now may be soon."""
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
            with _issuer_errors():
                async with asyncio.timeout(self._pace.timeout):
                    keys, fresh = await self._published()
        except _NoKeys as error:
            self._trouble = error.reason
            return
        self._keys, self._trouble = keys, ""
        self._fetched = self._clock()
        self._fresh_until = self._fetched + fresh

    async def _published(self) -> tuple[tuple[PublicKey, ...], float]:
        configuration, _ = await self._get(self._issuer.rstrip("/") + DISCOVERY)
        if not isinstance(configuration, dict) or configuration.get("issuer") != self._issuer:
            raise _NoKeys("calls itself by another name")
        address = configuration.get("jwks_uri")
        if not isinstance(address, str) or not _is_safe(address):
            raise _NoKeys("does not name an https address for its keys")
        document, max_age = await self._get(address)
        keys = public_keys(document)
        if not keys:
            raise _NoKeys("publishes no usable key")
        return keys, min(self._pace.fresh, max_age)

    async def _get(self, url: str) -> tuple[Any, float]:
        """The JSON at ``url``, and how long its server lets it be kept, in seconds."""
        response = await self._transport.handle_async_request(httpx.Request("GET", url, headers=_HEADERS))
        try:
            if response.status_code != httpx.codes.OK:
                raise _NoKeys(f"answered with status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise _NoKeys("answered in an encoding that was not asked for")
            body = await _read(response)
        finally:
            await response.aclose()
        max_age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        return json.loads(body), float(max_age[1]) if max_age else float("inf")


class _NoKeys(Exception):
    """Why an attempt brought no keys: a predicate of the issuer, for its operator and for readiness."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_BODY:
            raise _NoKeys("answered with too much")
    return bytes(body)


def _is_safe(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and (parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in _LOOPBACK))


def _unavailable() -> KeysUnavailable:
    return KeysUnavailable("The token cannot be checked: its issuer's keys are unavailable.")


@contextmanager
def _issuer_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise _NoKeys("did not answer in time") from error
    except (httpx.HTTPError, OSError) as error:
        raise _NoKeys("could not be reached") from error
    except (ValueError, RecursionError) as error:
        raise _NoKeys("did not answer with JSON") from error
