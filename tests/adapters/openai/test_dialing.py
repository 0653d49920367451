"""From a name to a connection: every address is tried, and nothing is left of those that lose."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from adapters.openai import dialing
from adapters.openai.dialing import Address, Dialer, Origin
from tests.adapters.openai.servers import Reader, Writer, certificate, open_files, serving, silent, until

pytestmark = pytest.mark.anyio

#: What an attempt at an address does.
Attempt = Callable[[], Awaitable[socket.socket]]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


def address(number: int) -> Address:
    return Address(socket.AF_INET, (f"127.0.0.{number}", 443))


class Scripted:
    """A resolver that knows some addresses, and attempts that go as told; remembers both."""

    def __init__(self, *attempts: Attempt) -> None:
        self.attempts = {address(number): attempt for number, attempt in enumerate(attempts, 1)}
        self.looked_up: list[tuple[str, int]] = []
        self.tried: list[Address] = []
        self.dialer = Dialer(self.resolve, self.connect)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.looked_up.append((host, port))
        return list(self.attempts)

    async def connect(self, address: Address) -> socket.socket:
        self.tried.append(address)
        return await self.attempts[address]()


async def refuse() -> socket.socket:
    raise ConnectionRefusedError


async def hang() -> socket.socket:
    await asyncio.Event().wait()
    raise AssertionError


def connecting(origin: str, made: list[socket.socket], after: float = 0.0) -> Attempt:
    """Connects to a server after some seconds."""

    async def attempt() -> socket.socket:
        await asyncio.sleep(after)
        sock = await dialing.connect_to(Address(socket.AF_INET, ("127.0.0.1", int(origin.rpartition(":")[2]))))
        made.append(sock)
        return sock

    return attempt


ORIGIN = Origin("http", "provider.example", 80)


async def test_the_first_address_that_answers_is_taken() -> None:
    made: list[socket.socket] = []
    async with serving(silent) as origin:
        scripted = Scripted(refuse, refuse, connecting(origin, made), refuse)

        connection = await scripted.dialer.dial(ORIGIN)

        assert connection.is_open
        connection.close()
    assert scripted.tried == [address(1), address(2), address(3)]
    assert scripted.looked_up == [("provider.example", 80)]


async def test_an_address_that_does_not_answer_holds_up_the_next_for_a_moment_only() -> None:
    made: list[socket.socket] = []
    async with serving(silent) as origin:
        scripted = Scripted(hang, connecting(origin, made))

        async with asyncio.timeout(5):
            connection = await scripted.dialer.dial(ORIGIN)

        connection.close()
    assert scripted.tried == [address(1), address(2)]


async def test_of_two_that_answer_one_is_kept_and_the_other_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "STAGGER", 0.0)
    made: list[socket.socket] = []
    async with serving(silent) as origin:
        scripted = Scripted(*(connecting(origin, made, after=0.01) for _ in range(5)))

        connection = await scripted.dialer.dial(ORIGIN)
        await asyncio.sleep(0.1)

        assert connection.is_open
        assert sum(sock.fileno() != -1 for sock in made) == 1
        connection.close()


async def test_no_attempt_outlives_who_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "STAGGER", 0.0)
    before = len(asyncio.all_tasks())
    scripted = Scripted(hang, hang, hang)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await scripted.dialer.dial(ORIGIN)

    await asyncio.sleep(0.01)
    assert len(scripted.tried) == 3
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("attempts", [(), (refuse,), (refuse, refuse)], ids=len)
async def test_without_an_address_that_answers_there_is_no_connection(attempts: tuple[Attempt, ...]) -> None:
    with pytest.raises((ConnectionRefusedError, socket.gaierror)):
        await Scripted(*attempts).dialer.dial(ORIGIN)


async def test_a_small_write_waits_for_nothing() -> None:
    async with serving(silent) as origin:
        sock = await dialing.connect_to(Address(socket.AF_INET, ("127.0.0.1", int(origin.rpartition(":")[2]))))

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        sock.close()


def test_families_take_turns_beginning_with_the_systems_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*hosts: str) -> list[object]:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
        return [(family, socket.SOCK_STREAM, 6, "", (host, 443)) for family, host in zip(families, hosts, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found("::1", "::2", "::1", "::3", "127.0.0.1"))

    assert [each.sockaddr[0] for each in dialing.look_up("x", 443)] == ["::1", "127.0.0.1", "::2", "::3"]


# --- TLS ----------------------------------------------------------------------------------------------------------


async def test_the_providers_name_is_asked_for_and_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str | None] = []
    tls = certificate(tmp_path, "provider.example", for_name=True)
    tls.sni_callback = lambda _, name, __: names.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))

    async def hold(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with serving(hold, tls) as origin:
        made: list[socket.socket] = []
        named = Scripted(connecting(origin, made)).dialer
        connection = await named.dial(Origin("https", "provider.example", 443))
        assert connection.is_open
        connection.close()
        with pytest.raises(OSError, match="certificate verify failed"):
            await named.dial(Origin("https", "another.example", 443))

    assert names == ["provider.example", "another.example"]
    assert all(sock.fileno() == -1 for sock in made[1:])


async def test_a_handshake_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    moments, dialer = random.Random(9), Dialer()

    async def hold(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with serving(hold, certificate(tmp_path)) as origin:
        before = open_files()
        target = Origin("https", "127.0.0.1", int(origin.rpartition(":")[2]))
        for _ in range(100):
            task = asyncio.create_task(dialer.dial(target))
            for _ in range(moments.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await until(lambda: open_files() <= before)
