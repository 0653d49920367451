"""The scripted provider as a process: what it remembers, how it starts and ends, and that its table is true."""

import json
import re
import signal
import socket
import subprocess
import sys

import httpx
import openai
import pytest

from tests import provider as package
from tests.provider.child import CHECKOUT, Child, NotStarted
from tests.provider.process import ProviderProcess
from tests.provider.server import KNOWN
from tests.provider.talk import post, raw, read_all, read_until


def test_a_request_is_remembered_as_it_came(provider: ProviderProcess) -> None:
    post(provider, "echo", seed=2**70, x_unknown=[None])

    [seen] = provider.requests()
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["content-type"] == "application/json"
    assert (seen.body["seed"], seen.body["x_unknown"]) == (2**70, [None])
    assert not seen.disconnected
    assert seen.ended_at
    assert seen.ended_at >= seen.at


@pytest.mark.parametrize(
    ("model", "events"), [("stall-n2", 3), ("words-n1000-i20", 3), ("trickle", 0), ("hang", 0), ("drip-headers", 0)]
)
def test_a_client_that_leaves_early_is_noticed(provider: ProviderProcess, model: str, events: int) -> None:
    peer = raw(provider, model, stream=True)
    provider.wait_until(lambda seen: len(seen) == 1 and seen[0].events >= events)
    peer.close()

    [seen] = provider.wait_until(lambda seen: seen[0].ended_at is not None)
    assert seen.disconnected
    assert seen.events < 1000


def test_a_client_that_read_to_the_end_has_not_left_early(provider: ProviderProcess) -> None:
    with raw(provider, "words-n3", stream=True) as peer:
        read_until(peer, b"[DONE]")

    [seen] = provider.wait_until(lambda seen: seen[0].ended_at is not None)
    assert not seen.disconnected
    assert seen.events == len(["opening", "w0", "w1", "w2", "finish", "[DONE]"])


def test_a_reader_that_stops_holds_up_the_sender_only(provider: ProviderProcess) -> None:
    peer = raw(provider, "huge-line-n300", stream=True)
    read_until(peer, b"xxx")
    post(provider, "echo")
    peer.close()

    [huge, echo] = provider.wait_until(lambda seen: all(one.ended_at for one in seen))
    assert huge.disconnected
    assert huge.bytes_sent < 100 << 20
    assert not echo.disconnected


@pytest.mark.anyio
async def test_waiting_leaves_the_event_loop_free(provider: ProviderProcess) -> None:
    async with httpx.AsyncClient(base_url=provider.base_url, trust_env=False) as caller:
        await caller.post("/chat/completions", json={"model": "echo"})

        assert len(await provider.seen_when(lambda seen: len(seen) == 1)) == 1


def test_waiting_in_vain_says_what_was_seen(provider: ProviderProcess) -> None:
    with pytest.raises(TimeoutError, match=re.escape("[]")):
        provider.wait_until(lambda seen: len(seen) > 0, deadline=0.02)


def test_requests_on_one_connection_share_its_number(provider: ProviderProcess) -> None:
    with httpx.Client(base_url=provider.origin, trust_env=False) as caller:
        for path in ("/v1/chat/completions", "/chat/completions"):
            assert caller.post(path, json={"model": "words-n1", "stream": True}).status_code == 200

    assert len({seen.connection for seen in provider.requests()}) == 1


def test_a_base_url_can_decide_the_behaviour(provider: ProviderProcess) -> None:
    answer = httpx.post(
        f"{provider.base_url_as('status-503')}/chat/completions", json={"model": "echo"}, trust_env=False
    )

    assert answer.status_code == 503
    assert provider.requests()[0].body == {"model": "echo"}


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert {"echo", "tools"} <= {model.id for model in client.models.list()}


def test_the_table_names_every_behaviour_and_no_other() -> None:
    first_column = re.findall(r"^([a-z0-9].*?)  ", package.__doc__ or "", re.MULTILINE)
    names = [name for cell in first_column for name in cell.split(", ")]

    assert {re.sub(r"(-[ni]\d+|\[?-<.*)", "", name) for name in names} == KNOWN


def test_it_ends_on_sigterm_with_connections_open() -> None:
    with ProviderProcess.start() as started, raw(started, "hang"):
        started.wait_until(lambda seen: len(seen) == 1)
        started.stop()

    assert started.child.process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started.port))


def test_it_starts_again_on_the_port_it_had() -> None:
    with ProviderProcess.start() as first:
        post(first, "echo")
        first.kill()
    with ProviderProcess.start(port=first.port) as second:
        assert post(second, "echo").status_code == 200

    assert first.child.process.returncode == -signal.SIGKILL


def test_it_does_not_outlive_whoever_started_it() -> None:
    with ProviderProcess.start() as started:
        assert started.child.process.stdin
        started.child.process.stdin.close()

        assert started.child.process.wait(5) == 0


def test_a_child_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(NotStarted, match="ended"):
        Child.start("tests.provider", "--port", "none")


def test_a_child_that_is_late_is_ended() -> None:
    with pytest.raises(NotStarted, match="went on"):
        Child.start("tests.provider", deadline=0.001)


def test_standard_error_stays_empty_whatever_clients_do() -> None:
    command = [sys.executable, "-m", "tests.provider"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        provider = ProviderProcess(Child(process, json.loads(process.stdout.readline())["port"]))
        for model in ("hang", "huge-line-n50", "reset", "reset-mid", "words-n50-i1"):
            raw(provider, model, stream=True).close()
        with socket.create_connection(("127.0.0.1", provider.port)) as peer:
            peer.sendall(b"rubbish\r\n\r\n")
            assert read_all(peer).startswith(b"HTTP/1.1 400")
        provider.wait_until(lambda seen: len(seen) == 5 and all(one.ended_at for one in seen))
        process.terminate()
        assert process.stderr
        assert process.stderr.read() == b""
