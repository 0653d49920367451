"""Clients that people have, unchanged: OpenAI's for Python in three majors and for Node, a browser's EventSource."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.chromium import browsing
from tests.clients.conftest import TOOLS, client_environment, node_folder
from tests.clients.front import Front, front
from tests.e2e.conftest import TENANT
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HERE = Path(__file__).parent
#: Longer than proxies and clients like to wait: 40 seconds before the first word.
SILENT = "slow-40000"
FAILING = "error-event-n3"
WHOLE = "words-n12-i20"
MODELS = (WHOLE, FAILING, SILENT)
#: The silence, and what a busy machine needs to start five clients.
DEADLINE = 100.0

CLIENTS = {
    "openai-python-1": "1.",
    "openai-python-2": "2.",
    "openai-python-3": "3.",
    "openai-node": "7.",
    "eventsource": "Mozilla/5.0 ",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What each client says that it has read of each model, and what the gateway has sent it."""

    said: Mapping[str, Mapping[str, Any]]
    fronts: Mapping[str, Front]

    def keep_alives(self, client: str) -> list[int]:
        """How many came in each of the client's streams of the silent model."""
        sent = [each.body for each in self.fronts[client].exchanges if b'"model":"%s"' % SILENT.encode() in each.body]
        return [body.count(b": ka\n") for body in sent]


@pytest.fixture(scope="module")
def told(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """All clients at the same time, so that the silence is waited for once."""
    folder = tmp_path_factory.mktemp("told")
    with ExitStack() as stack:
        fronts = {client: stack.enter_context(front(gateway.origin, _added(client))) for client in CLIENTS}
        programs = {
            client: _start(client, fronts[client].origin, folder) for client in CLIENTS if client != "eventsource"
        }
        for program in programs.values():
            stack.callback(program.kill)
        browser = fronts["eventsource"]
        page = browser.serve("/", (HERE / "eventsource.html").read_text())
        stack.enter_context(browsing(f"{page}?{'&'.join(f'model={model}' for model in MODELS)}", folder))
        said = {client: _lines(program) for client, program in programs.items()}
        said["eventsource"] = [browser.told.get(timeout=DEADLINE) for _ in MODELS]
        refused = [each for each in browser.exchanges if each.status not in (200, 204)]
        assert refused == []
        yield Told({client: {line["model"]: line for line in lines} for client, lines in said.items()}, fronts)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_is_read_to_its_end(told: Told, client: str) -> None:
    said = told.said[client][WHOLE]

    assert said["text"] == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11"
    assert (said["reason"], said["error"]) == ("stop", None)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_error_in_a_stream_is_told_behind_the_text_that_came_before_it(told: Told, client: str) -> None:
    said = told.said[client][FAILING]

    assert said["text"].split() == ["w0", "w1", "w2"]
    assert (said["reason"], said["error"]) == (None, "provider_error")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_provider_that_is_silent_for_forty_seconds_is_waited_for(told: Told, client: str) -> None:
    said = told.said[client][SILENT]

    assert said["text"] == "What is it like?"
    assert (said["reason"], said["error"]) == ("stop", None)


@pytest.mark.parametrize("client", CLIENTS)
def test_keep_alives_come_while_it_is_silent(told: Told, client: str) -> None:
    # After 10 seconds the first, and one for every 15 seconds more.
    assert max(told.keep_alives(client)) >= 2


@pytest.mark.parametrize(("client", "version"), CLIENTS.items())
def test_the_client_is_the_one_that_it_is_taken_for(told: Told, client: str, version: str) -> None:
    assert all(said["version"].startswith(version) for said in told.said[client].values())


def test_an_eventsource_stops_at_the_end_by_itself(told: Told) -> None:
    streams = told.fronts["eventsource"].streams

    for model in MODELS:
        ids = told.said["eventsource"][model]["ids"]
        run_id = ids[0].partition(":")[0]
        asked = [stream for stream in streams if run_id in stream.target]
        assert [stream.status for stream in asked] == [200, 204]
        assert asked[-1].headers["Last-Event-ID"] == ids[-1]


def _added(client: str) -> Mapping[str, str]:
    return {"X-Tenant-Id": TENANT} if client == "eventsource" else {}


def _start(client: str, origin: str, folder: Path) -> "subprocess.Popen[str]":
    """The client's program, reading each model in turn."""
    environment = client_environment(origin)
    if client == "openai-node":
        program = shutil.copy(HERE / "node" / "read.mjs", node_folder(folder / "node"))
        command = [str(TOOLS / "node"), str(program)]
    else:
        command, environment = python(int(client[-1]), str(HERE / "read.py"), environment)
    return subprocess.Popen([*command, *MODELS], env=environment, stdout=subprocess.PIPE, text=True)


def python(major: int, program: str, environment: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    """The command and variables that run a program with this major of OpenAI's client."""
    if major == 3:
        return [sys.executable, program], environment
    packages = TOOLS / f"openai-{major}"
    assert packages.exists(), f"no {packages}; `make test-tools` fetches it"
    # Without -S the packages of .venv would be there, too.
    return [sys.executable, "-S", program], {**environment, "PYTHONPATH": str(packages)}


def _lines(program: "subprocess.Popen[str]") -> list[Any]:
    """What the program has said, once it has ended well."""
    output, _ = program.communicate(timeout=DEADLINE)
    assert program.returncode == 0, f"{program.args!r} ended with {program.returncode}"
    return [json.loads(line) for line in output.splitlines()]
