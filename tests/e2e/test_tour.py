"""The tour of ``scripts/tour``, by the command line alone: what is said there comes about."""

import os
import re
import subprocess

import pytest

from tests.gateway import CHECKOUT
from tests.ports import free_port
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_tour_shows_what_it_promises(redis: RedisServer) -> None:
    redis.command("FLUSHALL")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    variables |= {"SLUICE_REDIS_URL": redis.url, "SLUICE_REDIS_SECONDS": "2", "TOUR_PORT": str(free_port())}

    toured = subprocess.run(
        [CHECKOUT / "scripts/tour"], env=variables, capture_output=True, text=True, check=False, timeout=120
    )

    said = toured.stdout.replace("X-Sluice-Provider", "x-sluice-provider")
    assert toured.returncode == 0, said + toured.stderr
    for promised in (
        "nothing is wrong",
        "2 created, 0 changed, 0 unchanged",
        "x-sluice-provider: echo",
        "first: 200",
        "second: 429",
        "You said: Take your time",
        '"status": "completed"',
        "accounts, 0 findings",
    ):
        assert promised in said, said
    cut = re.search(r"cut after event (\d+)\nresumed at event (\d+), to the end: 1\n", said)
    assert cut is not None, said
    assert int(cut[2]) == int(cut[1]) + 1
    assert int(cut[1]) > 1
