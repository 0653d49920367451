"""SIGTERM at any moment from the first that anybody can see the process: it ends in order, and nothing hangs."""

import random
import signal
import time
from contextlib import closing, suppress
from pathlib import Path
from socket import create_connection

import httpx
import pytest

from tests.e2e.conftest import Start, token
from tests.gateway import SECRET, GatewayProcess
from tests.nursery import Fork, Nursery, Order
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STARTS = 20
#: Seconds in which a start is over on any machine, from the first connection that is taken.
START = 0.3
#: Seconds that an end may take: there is nothing to drain, only connections to be closed.
END = 10.0


def test_sigterm_around_the_start_ends_it_with_status_0(nursery: Nursery, tmp_path: Path) -> None:
    moments = [random.Random(number).uniform(0, START) for number in range(STARTS)]

    statuses = [ended_at(moment, nursery, tmp_path / str(number)) for number, moment in enumerate(moments)]

    assert statuses == [0] * STARTS


def test_sigterm_right_behind_the_first_answer_ends_it_with_status_0(nursery: Nursery, tmp_path: Path) -> None:
    settings = {"SLUICE_JWT_SECRET": SECRET}

    statuses = [
        GatewayProcess.start(tmp_path / str(number), settings, nursery=nursery).stop(END) for number in range(STARTS)
    ]

    assert statuses == [0] * STARTS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_drain_at_once(start: Start, number: signal.Signals) -> None:
    gateway = start(SLUICE_DRAIN_SECONDS="60")
    body = {"messages": [{"role": "user", "content": "hello"}], "model": "words-n2000-i25", "stream": True}
    url = f"{gateway.origin}/acme/v1/chat/completions"

    with httpx.stream("POST", url, json=body, headers={"Authorization": f"Bearer {token()}"}, timeout=20) as response:
        next(response.iter_text())
        gateway.process.send_signal(signal.SIGTERM)
        wait_until_it_drains(gateway)
        gateway.process.send_signal(number)
        status = gateway.process.wait(END)

    assert status != 0


def ended_at(moment: float, nursery: Nursery, log: Path) -> int:
    """Send SIGTERM so many seconds after it took a connection; its exit status."""
    port = free_port()
    fork = nursery.fork(Order("serve", {"SLUICE_JWT_SECRET": SECRET, "SLUICE_PORT": str(port)}, str(log)))
    try:
        wait_until_it_listens(port)
        time.sleep(moment)
        fork.send_signal(signal.SIGTERM)
        return fork.wait(END)
    finally:
        put_down(fork)


def wait_until_it_drains(gateway: GatewayProcess) -> None:
    until = time.monotonic() + 5
    while httpx.get(f"{gateway.origin}/readyz").status_code == 200:
        assert time.monotonic() < until


def put_down(fork: Fork) -> None:
    if fork.poll() is None:
        fork.kill()


def wait_until_it_listens(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(ConnectionRefusedError), closing(create_connection(("127.0.0.1", port), timeout=2)):
            return
        time.sleep(0.001)
    raise TimeoutError(f"nobody listens on {port}")
