"""What an OpenID issuer says over the network: asked without cookies, proxies and redirects, and read within bounds."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

#: https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
DISCOVERY = "/.well-known/openid-configuration"
MAX_BODY = 1 << 20
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "sluice"}
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class IssuerTrouble(Exception):
    """Why an issuer could not be used: a predicate of it, for its operator and for readiness."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Issuer:
    """One issuer at its address, over a transport that has neither cookies nor proxies nor redirects.

    Raises:
        ValueError: the address is not https (http is for loopback only).
    """

    def __init__(self, address: str, transport: httpx.AsyncBaseTransport) -> None:
        if not is_safe(address):
            raise ValueError("the issuer must be an https address")
        self.address = address
        self._transport = transport

    async def endpoint(self, name: str, what: str) -> str:
        """The address of this name in the discovery document; ``what`` says what it is for.

        Raises:
            IssuerTrouble: there is none that can be trusted.
        """
        configuration, _ = await self.get(self.address.rstrip("/") + DISCOVERY)
        if not isinstance(configuration, dict) or configuration.get("issuer") != self.address:
            raise IssuerTrouble("calls itself by another name")
        endpoint = configuration.get(name)
        if not isinstance(endpoint, str) or not is_safe(endpoint):
            raise IssuerTrouble(f"does not name an https address for {what}")
        return endpoint

    async def get(self, url: str) -> tuple[Any, float]:
        """The JSON at ``url``, and how long its server lets it be kept, in seconds.

        Raises:
            IssuerTrouble: there is none.
        """
        return await self._answer(httpx.Request("GET", url, headers=_HEADERS))

    async def post(self, url: str, form: dict[str, str], authorization: str) -> Any:
        """The JSON that answers a form.

        Raises:
            IssuerTrouble: there is none.
        """
        headers = {**_HEADERS, "Authorization": authorization}
        return (await self._answer(httpx.Request("POST", url, data=form, headers=headers)))[0]

    async def _answer(self, request: httpx.Request) -> tuple[Any, float]:
        with _trouble():
            response = await self._transport.handle_async_request(request)
            try:
                body = await _body(response)
            finally:
                await response.aclose()
            max_age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
            return json.loads(body), float(max_age[1]) if max_age else float("inf")


def is_safe(url: str) -> bool:
    """Whether it is an https address, or one in http on the loopback."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and (parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in _LOOPBACK))


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise IssuerTrouble(f"answered with status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise IssuerTrouble("answered in an encoding that was not asked for")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_BODY:
            raise IssuerTrouble("answered with too much")
    return bytes(body)


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, OSError) as error:
        raise IssuerTrouble("could not be reached") from error
    except (ValueError, RecursionError) as error:
        raise IssuerTrouble("did not answer with JSON") from error
