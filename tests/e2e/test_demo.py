"""The demo: what it prints works as printed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import GatewayProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["memory", "redis"])
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GatewayProcess]:
    environment = {"SLUICE_DEMO": "1"}
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis")
        environment["SLUICE_REDIS_URL"] = redis.url
    with GatewayProcess.start(tmp_path / "demo.log", environment) as running:
        running.wait_for_log("from openai import OpenAI")
        yield running


def test_each_printed_command_answers(demo: GatewayProcess) -> None:
    commands = re.findall(r"^curl .*$", demo.log, re.MULTILINE)

    answers = [
        subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True).stdout
        for command in commands
    ]

    assert len(answers) == 3
    assert all("Sluice's " in answer and "Hello" in answer for answer in answers)
    assert [answer.rstrip().endswith("data: [DONE]") for answer in answers] == [True, True, False]


def test_the_printed_python_answers(demo: GatewayProcess) -> None:
    program = demo.log[demo.log.index("from openai import OpenAI") :]
    program = program[: program.index("\n", program.index("print(")) + 1]

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert "ChatCompletion(" in told.stdout
    assert "Sluice's development provider" in told.stdout


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_development_provider_ends_with_the_gateway_however_that_ends(
    demo: GatewayProcess, how: signal.Signals
) -> None:
    children = _children(demo.pid)

    os.kill(demo.pid, how)
    demo.process.wait(15)

    until = time.monotonic() + 10
    while any(_is_running(child) for child in children) and time.monotonic() < until:
        time.sleep(0.02)
    assert children
    assert not any(_is_running(child) for child in children)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        # A process that has ended but that nobody has waited for is as good as gone.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
