"""Servers on loopback that do what a test says, byte by byte; what the scripted provider has no name for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
#: What a server does with one connection; it is closed behind it.
Script = Callable[[Reader, Writer], Awaitable[None]]

EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The origin of a server that treats every connection as ``script`` says."""
    scheme = "http" if tls is None else "https"
    connections: set[asyncio.Task[None]] = set()

    async def treat(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Whoever cancels is the end of the test, below.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(treat, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def take_request(reader: Reader) -> bytes:
    """Read one request, and return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.split(b":")[1]))


def answering(*parts: bytes) -> Script:
    """Takes a request, sends ``parts`` and closes."""

    async def script(reader: Reader, writer: Writer) -> None:
        await take_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return script


def stalling(*parts: bytes) -> Script:
    """Takes a request, sends ``parts`` and then nothing more."""

    async def script(reader: Reader, writer: Writer) -> None:
        await answering(*parts)(reader, writer)
        await asyncio.Event().wait()

    return script


async def silent(reader: Reader, writer: Writer) -> None:
    await asyncio.Event().wait()


def response(body: bytes, *headers: bytes) -> bytes:
    """An answer with its length."""
    lines = [b"HTTP/1.1 200 OK", b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def certificate(
    folder: Path, name: str = "127.0.0.1", *, expired: bool = False, for_name: bool = False
) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody has signed but itself, in ``folder``/server.pem.

    ``for_name``: whoever trusts it takes it for proof of the name.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = now - timedelta(days=1) if expired else now + timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(until)
    )
    if for_name:
        signed = signed.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(secret + signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def open_files() -> int:
    """How many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until(met: Callable[[], bool]) -> None:
    """Wait, for five seconds at most, until something is so."""
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 - it is no event of ours
            await asyncio.sleep(0.005)
