"""What the collector of cycles is told when a server starts."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from entrypoints.http import garbage

#: A server that says what has been taken out of the collector's sight when it has started, and ends.
_SERVER = """
import gc, os, signal, socket
from sanic import Sanic
from sanic.server.protocols.http_protocol import HttpProtocol
from entrypoints.http.running import serve

app = Sanic("garbage", configure_logging=False)
app.ctx.protocol = HttpProtocol

@app.get("/")
async def nothing(_):
    return None

@app.after_server_start
async def tell(_):
    print(gc.get_freeze_count())
    os.kill(os.getpid(), signal.SIGTERM)

with socket.create_server(("127.0.0.1", 0)) as listener:
    serve(app, listener)
"""


@pytest.fixture
def _settled() -> Iterator[None]:
    thresholds = gc.get_threshold()
    garbage.settle()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_a_server_starts_with_is_never_looked_through_again() -> None:
    told = subprocess.run([sys.executable, "-c", _SERVER], capture_output=True, check=True, timeout=60)

    assert int(told.stdout) > 10_000


@pytest.mark.usefixtures("_settled")
def test_what_some_requests_under_way_hold_costs_no_round() -> None:
    rounds: list[str] = []

    def note(phase: str, _: object) -> None:
        rounds.append(phase)

    gc.callbacks.append(note)
    held = [[number] for number in range(5_000)]
    gc.callbacks.remove(note)

    assert (len(held), rounds) == (5_000, [])


@pytest.mark.usefixtures("_settled")
def test_a_cycle_that_a_request_leaves_behind_is_freed_in_time() -> None:
    freed: list[bool] = []

    class Left:
        def __del__(self) -> None:
            freed.append(True)

    left = Left()
    left.__dict__["itself"] = left
    del left
    held = [[number] for number in range(15_000)]

    assert (len(held), freed) == (15_000, [True])
