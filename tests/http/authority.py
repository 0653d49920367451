"""A certificate authority of the tests' own, and providers behind TLS that can prove who they are, or not quite."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.adapters.openai.calls import answer_of
from tests.adapters.openai.servers import Reader, Script, Writer, response, serving, take_request

LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ANSWER = answer_of(
    {"index": 0, "message": {"role": "assistant", "content": "proven"}, "finish_reason": "stop"},
    object="chat.completion",
    usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
)


class Authority:
    """Signs certificates; whoever trusts ``file`` believes them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _unsigned(self._name, self._name, self._key, days=1)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def context(self, host: x509.GeneralName = LOOPBACK, *, days: int = 1) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for ``host`` that ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
        builder = _unsigned(subject, self._name, key, days=days)
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._folder / "server.pem"
        file.write_bytes(secret + _pem(builder.sign(self._key, hashes.SHA256())))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@dataclass(frozen=True, slots=True)
class Proofs:
    """Providers behind TLS by name: where they are, and who of them was asked."""

    addresses: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def behind_tls(trusted: Authority, stranger: Authority) -> AsyncIterator[Proofs]:
    """One provider that can prove who it is, and one for each way in which one cannot."""
    contexts = {
        "tls-proven": trusted.context(),
        "tls-unknown-authority": stranger.context(),
        "tls-expired": trusted.context(days=-1),
        "tls-wrong-host": trusted.context(x509.DNSName("another.invalid")),
    }
    proofs = Proofs()
    async with AsyncExitStack() as servers:
        for name, context in contexts.items():
            origin = await servers.enter_async_context(serving(_answering(proofs, name), context))
            proofs.addresses[name] = f"{origin}/v1"
        plain = await servers.enter_async_context(serving(_without_tls))
        proofs.addresses["tls-none"] = f"{plain.replace('http:', 'https:')}/v1"
        yield proofs


async def _without_tls(reader: Reader, writer: Writer) -> None:
    writer.write(response(ANSWER))
    await reader.read()


def _answering(proofs: Proofs, name: str) -> Script:
    async def script(reader: Reader, writer: Writer) -> None:
        await take_request(reader)
        proofs.asked.append(name)
        writer.write(response(ANSWER))
        await writer.drain()

    return script


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
