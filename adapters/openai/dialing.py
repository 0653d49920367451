"""From a host's name to a connection: addresses, TCP, TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, zip_longest
from typing import NamedTuple, TypeAlias

import httpx

from adapters.openai.connection import Connection
from domain.reach import is_public

#: Seconds that an address gets before the next one is tried beside it. https://www.rfc-editor.org/rfc/rfc8305#section-5
STAGGER = 0.25
#: A resolver that does not answer holds a thread for as long as the system is patient with it.
_RESOLVING_THREADS = 8
_OPTIONS = (
    # Otherwise a small write waits for the acknowledgement of the one before.
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    # A provider may think for minutes: probes keep firewalls and NATs from forgetting the connection meanwhile.
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
)


class Origin(NamedTuple):
    """Where requests go; ``host`` as it stands in a URL, without brackets.

    ``guest`` is whose provider it is, where a tenant brought it: nobody else has a connection to it, and it must be on
    the public internet.
    """

    scheme: str
    host: str
    port: int
    guest: str | None = None

    @classmethod
    def of(cls, url: httpx.URL, guest: str | None = None) -> "Origin":
        """The origin of an address.

        Raises:
            httpx.UnsupportedProtocol: it is not one of HTTP.
        """
        scheme, host = url.scheme, url.raw_host.decode("ascii")
        if scheme not in ("http", "https") or not host:
            raise httpx.UnsupportedProtocol("UnsupportedProtocol")
        return cls(scheme, host, url.port or (443 if scheme == "https" else 80), guest)


class Address(NamedTuple):
    """One of a host's addresses, as the socket module has it."""

    family: int
    sockaddr: tuple[str | int | bytes, ...]


#: Finds the addresses of a host and a port; raises OSError.
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
#: Opens a TCP connection to an address; raises OSError.
Connect: TypeAlias = Callable[[Address], Awaitable[socket.socket]]


class Dialer:
    """Opens connections: one lookup for each, whose addresses are tried one beside the other until one answers."""

    def __init__(self, resolve: Resolve | None = None, connect: Connect | None = None) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="resolver")
        self._resolve = resolve or self._addresses
        self._connect = connect or connect_to
        self._tls: ssl.SSLContext | None = None

    async def dial(self, origin: Origin) -> Connection:
        """A new connection. Certificates are always verified, for the host's name.

        Raises:
            OSError: no such host, or not where a guest's may be; no address that answers; no TLS, or not with whom it
                should be.
            UnicodeError: the host has a name that no resolver would take.
        """
        tls = await self._context() if origin.scheme == "https" else None
        addresses = await self._resolve(origin.host, origin.port)
        if origin.guest is not None:
            require_public(addresses)
        # Connected is to what was looked at, and not to what a second lookup might say.
        sock = await self._first_of(addresses)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, sock=sock, ssl=tls, server_hostname=origin.host if tls is not None else None
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def close(self) -> None:
        """Wait for no lookup any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # It reads all certificates, which takes tens of milliseconds.
            self._tls = await asyncio.to_thread(_client_context)
        return self._tls

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        with suppress(socket.gaierror):
            # An address needs no lookup, and no thread.
            return look_up(host, port, socket.AI_NUMERICHOST)
        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up, host, port)

    async def _first_of(self, addresses: Sequence[Address]) -> socket.socket:
        """The first connection that comes about; the next attempt begins when one fails, or takes long."""
        if len(addresses) == 1:
            return await self._connect(addresses[0])
        waiting, tasks = list(addresses), list[asyncio.Future[socket.socket]]()
        winner: socket.socket | None = None
        try:
            while waiting or not all(task.done() for task in tasks):
                if waiting:
                    tasks.append(asyncio.ensure_future(self._connect(waiting.pop(0))))
                going = [task for task in tasks if not task.done()]
                await asyncio.wait(going, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED)
                winner = next((task.result() for task in tasks if _has_won(task)), None)
                if winner is not None:
                    return winner
        finally:
            for task in tasks:
                if not task.cancel() and _has_won(task) and task.result() is not winner:
                    task.result().close()
        nowhere = socket.gaierror(socket.EAI_NONAME, "no address")
        raise next((error for task in tasks if (error := task.exception())), nowhere)


async def connect_to(address: Address) -> socket.socket:
    """A TCP connection to an address.

    Raises:
        OSError: it cannot be had.
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        for level, option, value in _OPTIONS:
            if hasattr(socket, option):
                sock.setsockopt(level, getattr(socket, option), value)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def look_up(host: str, port: int, flags: int = 0) -> Sequence[Address]:
    """The addresses of a host in the system's order, IPv6 and IPv4 by turns. Blocks.

    Raises:
        OSError: there is no such host.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    addresses = list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))
    first = [address for address in addresses if address.family == addresses[0].family]
    second = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]


def require_public(addresses: Sequence[Address]) -> None:
    """Raise PermissionError unless every address is one that a tenant's own provider may have."""
    if not all(is_public(str(address.sockaddr[0])) for address in addresses):
        raise PermissionError


def _has_won(task: asyncio.Future[socket.socket]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _client_context() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
