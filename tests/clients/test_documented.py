"""The programs of docs/streams.md, run as they stand against the demo, with connections that break under them."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import httpx
import pytest

from tests.clients.chromium import browsing
from tests.clients.conftest import TOOLS, client_environment, node_folder
from tests.clients.front import Cut, Front, front
from tests.clients.test_clients import python
from tests.docs.pages import page
from tests.e2e.conftest import token
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STREAMS = page("docs/streams.md")
EVENTSOURCE = STREAMS.section("A browser, with EventSource")
FETCH = STREAMS.section("A browser or Node, with fetch")
NODE = STREAMS.section("Node, with OpenAI's client")
OPENAI = STREAMS.section("Python, with OpenAI's client")
HTTPX = STREAMS.section("Python, with httpx")

ORIGIN = "http://127.0.0.1:8080"
QUESTION = "Hello, who are you?"
#: With a character that is none of the ends of a line, and one of four bytes.
TRICKY = "Hello,\u2028who are 🚀 you?"
#: In the first stream, before any event of the second, and so on. A clean end is none that a client may believe.
CUTS = (Cut(4), Cut(0), Cut(3, cleanly=True), Cut(6), Cut(1, cleanly=True))
#: Whole pages tell the test what stands in them when they are ready.
WATCHER = """
<script>
  const shown = document.getElementById("answer");
  const tell = () => fetch("/_told", { method: "POST", body: JSON.stringify(shown.textContent) });
  new MutationObserver(() => shown.ariaBusy === "false" && tell()).observe(shown, { attributes: true });
</script>
"""
DEADLINE = 60.0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess.start(tmp_path_factory.mktemp("demo") / "demo.log", {"SLUICE_DEMO": "1"}) as running:
        running.wait_for_log("from openai import OpenAI")
        yield running


@pytest.fixture
def before_demo(demo: GatewayProcess) -> Iterator[Front]:
    """What a program is told is the gateway."""
    with front(demo.origin) as running:
        yield running


@pytest.fixture
def before_gateway(gateway: GatewayProcess) -> Iterator[Front]:
    with front(gateway.origin) as running:
        yield running


@pytest.fixture
def backend_of_demo(demo: GatewayProcess) -> Iterator[Front]:
    """The backend that a page came from."""
    with front(demo.origin, {"X-Tenant-Id": "demo"}) as running:
        yield running


@pytest.fixture(scope="module")
def whole(demo: GatewayProcess) -> str:
    """The answer to the question, had without a stream."""
    body = {"model": "development-echo", "messages": [{"role": "user", "content": TRICKY}]}
    headers = {"Authorization": f"Bearer {_token(demo)}"}
    url = f"{demo.origin}/development/v1/chat/completions"
    answer = httpx.post(url, json=body, headers=headers, timeout=10, trust_env=False)
    text: str = answer.raise_for_status().json()["choices"][0]["message"]["content"]
    assert text.endswith(TRICKY)
    return text


Ended: TypeAlias = "subprocess.CompletedProcess[str]"


class Run(Protocol):
    """Runs a program of the page, in a folder, with the gateway at this origin."""

    def __call__(self, origin: str, environment: Mapping[str, str], folder: Path, **changes: str) -> Ended: ...


def _with_python(block: str, major: int) -> Run:
    def run(origin: str, environment: Mapping[str, str], folder: Path, **changes: str) -> Ended:
        (folder / "program.py").write_text(_changed(block, origin, **changes), "utf-8")
        return _run(*python(major, str(folder / "program.py"), environment))

    return run


def _with_node(block: str) -> Run:
    def run(origin: str, environment: Mapping[str, str], folder: Path, **changes: str) -> Ended:
        own = node_folder(folder)
        (own / "stream.mjs").write_text(FETCH.blocks("javascript")[0])
        (own / "program.mjs").write_text(_changed(block, origin, **changes), "utf-8")
        return _run([str(TOOLS / "node"), str(own / "program.mjs")], environment)

    return run


PROGRAMS: Mapping[str, Run] = {
    "openai-python-1": _with_python(OPENAI.blocks("python")[0], 1),
    "openai-python-2": _with_python(OPENAI.blocks("python")[0], 2),
    "openai-python-3": _with_python(OPENAI.blocks("python")[0], 3),
    "httpx": _with_python(HTTPX.blocks("python")[0], 3),
    "openai-node": _with_node(NODE.blocks("javascript")[0]),
    "node-fetch": _with_node(FETCH.blocks("javascript")[1]),
}
PAGES = {"eventsource": EVENTSOURCE.blocks("html")[0], "fetch": FETCH.blocks("html")[0]}


@pytest.mark.parametrize("cuts", [(), CUTS], ids=["uncut", "cut"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_has_the_whole_text_however_often_its_connection_is_lost(
    program: str, cuts: Sequence[Cut], demo: GatewayProcess, before_demo: Front, whole: str, tmp_path: Path
) -> None:
    before_demo.cuts = list(cuts)
    environment = client_environment(before_demo.origin, TOKEN=_token(demo), PYTHONUTF8="1")

    ended = PROGRAMS[program](before_demo.origin, environment, tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (whole, "", 0)
    assert [exchange.status for exchange in before_demo.exchanges] == [200] * (len(cuts) + 1)


@pytest.mark.parametrize("cuts", [(), CUTS], ids=["uncut", "cut"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_whole_text_however_often_its_connection_is_lost(
    name: str, cuts: Sequence[Cut], backend_of_demo: Front, whole: str, tmp_path: Path
) -> None:
    # The EventSource's page does not read the answer to its POST, which is the first stream.
    unread = [None] if name == "eventsource" else []
    backend_of_demo.cuts = [*unread, *cuts]
    backend_of_demo.serve("/stream.mjs", FETCH.blocks("javascript")[0], "text/javascript")
    address = backend_of_demo.serve("/", _changed(PAGES[name], backend_of_demo.origin) + WATCHER)

    with browsing(address, tmp_path):
        text = backend_of_demo.told.get(timeout=DEADLINE)

    assert text == whole
    assert [exchange.status for exchange in backend_of_demo.exchanges] == [200] * (len(unread) + len(cuts) + 1)


@pytest.mark.parametrize("program", ["openai-python-3", "httpx", "openai-node", "node-fetch"])
def test_a_program_does_not_come_back_after_an_error(
    program: str, gateway: GatewayProcess, before_gateway: Front, tmp_path: Path
) -> None:
    environment = client_environment(before_gateway.origin, TOKEN=token(), PYTHONUTF8="1")
    changes = {"development-echo": "error-event-n3", "/development/": "/openai/"}

    ended = PROGRAMS[program](before_gateway.origin, environment, tmp_path, **changes)

    assert ended.stdout.split() == ["w0", "w1", "w2"]
    assert "The provider failed to answer." in ended.stderr
    assert ended.returncode == 1
    assert len(before_gateway.exchanges) == 1


def test_every_program_of_the_page_is_run() -> None:
    sections = (EVENTSOURCE, FETCH, NODE, OPENAI, HTTPX)

    for language in ("html", "javascript", "python"):
        assert STREAMS.blocks(language) == [block for section in sections for block in section.blocks(language)]
    assert [len(STREAMS.blocks(language)) for language in ("html", "javascript", "python")] == [2, 3, 2]


def _changed(block: str, origin: str, **changes: str) -> str:
    """The block with this origin in the place of the demo's, and a question that is harder to get right."""
    assert block.count(QUESTION) == 1
    for old, new in {QUESTION: TRICKY, ORIGIN: origin, **changes}.items():
        block = block.replace(old, new)
    return block


def _token(demo: GatewayProcess) -> str:
    found = re.search(r"Bearer ([\w.-]+)", demo.log)
    assert found is not None
    return found[1]


def _run(command: list[str], environment: Mapping[str, str]) -> Ended:
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=DEADLINE, check=False
    )
