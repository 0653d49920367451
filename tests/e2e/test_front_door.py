"""A crowd at the door of ``sluice serve``: slow, large and idle connections by the hundred, and good requests beside.

``CROWD`` says how many there are, 200 by default. What the good requests had to wait is printed (``-s``).
"""

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from socket import create_connection

import pytest

from tests.gateway import CHECKOUT, SECRET, GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CROWD = int(os.environ.get("CROWD", "200"))
DEADLINE = 3.0
#: Seconds in which a crowd gathers.
RAMP = 2.0
#: Bytes that an upload promises, and that each sends of it if nobody stops it.
UPLOAD = 98 * 2**20
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: "
#: Nobody vouches for the tenant surface's caller before the body; on the group surface it has to be read.
BODY = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: demo\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    environment = {
        "SLUICE_DEMO": "1",
        "SLUICE_JWT_SECRET": SECRET,
        "SLUICE_HEAD_SECONDS": str(DEADLINE),
        "SLUICE_BODY_SECONDS": str(DEADLINE),
        "SLUICE_LOG_LEVEL": "warning",
    }
    with GatewayProcess.start(tmp_path / "log", environment) as started:
        yield started


async def drip(port: int, beginning: bytes, number: int) -> float:
    """Send a byte every half second until the other side closes; seconds that it took."""
    # They do not come all at once: what is measured is what it takes to have them, not to let them in.
    await asyncio.sleep(number * RAMP / CROWD)
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    closed = asyncio.create_task(reader.read())
    while not closed.done():
        await asyncio.wait((closed,), timeout=0.5)
        writer.write(b"x")
    taken = loop.time() - began
    writer.transport.abort()
    # A byte that was under way when it closed resets the connection, and what was told with it.
    with suppress(ConnectionResetError):
        assert (await closed).startswith(b"HTTP/1.1 408 ")
    return taken


async def probing(port: int, seconds: float) -> Sequence[float]:
    """The latencies of good requests meanwhile, in milliseconds."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.probe", str(port), str(seconds), stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    told, _ = await child.communicate()
    assert child.returncode == 0
    return [float(each) for each in json.loads(told)]


def p99(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98]


@pytest.mark.parametrize("beginning", [HEAD, BODY], ids=["heads", "bodies"])
async def test_slow_requests_are_gone_by_their_deadline_and_good_ones_answered(
    gateway: GatewayProcess, beginning: bytes
) -> None:
    alone = await probing(gateway.port, DEADLINE + RAMP)
    idle = len(descriptors(gateway))

    meanwhile = asyncio.create_task(probing(gateway.port, DEADLINE + RAMP))
    took = await asyncio.gather(*(drip(gateway.port, beginning, number) for number in range(CROWD)))
    beside = await meanwhile

    sys.stdout.write(
        f"{CROWD} of them: gone after {min(took):.2f} to {max(took):.2f} s; "
        f"p99 of good requests {p99(alone):.2f} ms alone, {p99(beside):.2f} ms beside them\n"
    )
    assert min(took) >= DEADLINE - 0.1
    # On a busy machine they and we get their turn late; what must not happen is that bytes put the deadline off.
    assert max(took) < DEADLINE + 5
    await settled(gateway, idle)


async def test_uploads_of_nobody_take_no_memory(gateway: GatewayProcess) -> None:
    before = fresh_memory(gateway)

    answers = await asyncio.gather(*(upload(gateway.port) for _ in range(10)))

    sys.stdout.write(f"ten uploads: {(memory(gateway) - before) / 2**20:.1f} MB\n")
    assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers)
    assert memory(gateway) - before < 5 * 2**20


async def upload(port: int) -> bytes:
    """Send a large body without a token until the other side answers or takes no more; what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    writer.write(b"POST /demo/v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UPLOAD)
    with suppress(ConnectionError):
        for _ in range(UPLOAD // 2**16):
            writer.write(b"x" * 2**16)
            await writer.drain()
            # Give way to the answer, which a reset takes with it as long as it has not been read.
            await asyncio.sleep(0)
            if answer.done():
                break
    writer.transport.abort()
    return await answer


def test_idle_connections_keep_nobody_from_asking_how_it_is(gateway: GatewayProcess) -> None:
    before = fresh_memory(gateway)
    crowd = [create_connection(("127.0.0.1", gateway.port)) for _ in range(CROWD * 5 // 2)]
    try:
        with closing(create_connection(("127.0.0.1", gateway.port), timeout=5)) as asking:
            asking.sendall(HEALTH)
            answer = asking.recv(65536)
        grown = memory(gateway) - before
    finally:
        for connection in crowd:
            connection.close()

    sys.stdout.write(f"{len(crowd)} idle connections: {grown / 2**20:.1f} MB\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert grown / len(crowd) < 16 * 1024


def descriptors(gateway: GatewayProcess) -> list[Path]:
    return list(Path(f"/proc/{gateway.pid}/fd").iterdir())


def fresh_memory(gateway: GatewayProcess) -> int:
    """What it has now; from here on ``memory`` tells the most."""
    # https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")
    return memory(gateway)


def memory(gateway: GatewayProcess) -> int:
    """The most resident memory that the process had, in bytes."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def settled(gateway: GatewayProcess, idle: int) -> None:
    """Wait until no socket is left of the crowd."""
    async with asyncio.timeout(5):
        while len(descriptors(gateway)) > idle:  # noqa: ASYNC110 - another process's descriptors, which tell nobody
            await asyncio.sleep(0.05)
