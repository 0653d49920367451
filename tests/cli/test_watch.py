"""Commands that ask a gateway: ``runs watch``, ``ping``, ``providers``. It is a real one, killed in mid-stream."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.shell import Shell
from tests.gateway import CHECKOUT, GatewayProcess
from tests.ports import free_port
from tests.provider.process import ProviderProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WORDS = " ".join(f"w{number}" for number in range(60))


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with ProviderProcess.start() as started:
        yield started


@pytest.fixture
def environment(shell: Shell, provider: ProviderProcess) -> dict[str, str]:
    """What a gateway is started with that serves group ``anonymous`` of tenant ``acme``."""
    shell.run("tenant", "apply", "-f", shell.file("t.toml", _TENANT))
    return {**shell.environment, "SLUICE_UPSTREAM": provider.base_url, "SLUICE_LEASE_SECONDS": "2"}


_TENANT = "[acme.groups.anonymous]\ninitial_tokens = 100000\n"


def ask(gateway: GatewayProcess, model: str) -> str:
    """The id of a job that was asked for."""
    body = {
        "group_id": "anonymous",
        "provider": "upstream",
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    answer = httpx.post(f"{gateway.origin}/v1/chat/completions", json=body, headers={"X-Tenant-Id": "acme"})
    return str(answer.json()["id"])


def test_a_watched_run_is_read_whole_though_its_gateway_is_replaced(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    with GatewayProcess.start(tmp_path / "worker.log", environment) as worker:
        front = GatewayProcess.start(tmp_path / "front.log", {**environment, "SLUICE_JOB_SLOTS": "0"})
        run = ask(worker, "words-n60-i50")
        words = ["runs", "watch", run, "--tenant", "acme", "--url", front.origin]
        watching = subprocess.Popen(
            [sys.executable, "-c", "from entrypoints.cli import main; main()", *words],
            # Without a buffer, which would keep what is read ahead from the second reader.
            cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        assert watching.stdout is not None
        heard = watching.stdout.read(12)
        front.kill()
        with GatewayProcess.start(
            tmp_path / "next.log", {**environment, "SLUICE_JOB_SLOTS": "0", "SLUICE_PORT": str(front.port)}
        ):
            rest, problems = watching.communicate(timeout=30)

    assert (watching.returncode, (heard + rest).decode()) == (0, WORDS + "\n")
    assert b"came back" in problems


def test_a_failed_run_ends_with_1_and_one_that_is_not_there_is_refused(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    with GatewayProcess.start(tmp_path / "gateway.log", environment) as gateway:
        failed = shell.run("runs", "watch", ask(gateway, "status-500"), "--tenant", "acme", "--url", gateway.origin)
        unknown = shell.run(
            "runs", "watch", "job-01KCZ6V8XWQ3T5R7Y9ABCDEFGH", "--tenant", "acme", "--url", gateway.origin
        )
        pinged = shell.run("ping", "--url", gateway.origin, "--json")

    assert failed.status == 1
    assert (unknown.status, unknown.problems) == (65, "No such completion\n")
    assert (pinged.status, pinged.json["status"]) == (0, "ready")


def test_watching_is_given_up_where_nobody_answers(shell: Shell) -> None:
    watched = shell.run(
        "runs", "watch", "job-01KCZ6V8XWQ3T5R7Y9ABCDEFGH", "--tenant", "acme", "--url", "http://127.0.0.1:1",
        "--patience", "1",
    )  # fmt: skip

    assert watched.status == 75


def test_runs_are_listed_and_stopped(shell: Shell, environment: dict[str, str], tmp_path: Path) -> None:
    with GatewayProcess.start(tmp_path / "gateway.log", environment) as gateway:
        run = ask(gateway, "words-n400-i25")
        listed = shell.run("runs", "list", "--tenant", "acme", "--json").json
        stopped = shell.run("runs", "cancel", run, "--json").json

    assert [row["id"] for row in listed] == [run]
    assert [row["status"] for row in stopped] == ["cancelled"]


def test_providers_are_listed_with_how_a_replica_finds_their_targets(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    asking = ("providers", "--admin-url", f"http://127.0.0.1:{port}", "--json")
    token = shell.run("token", "mint", "olga", "--scope", "sluice:admin:read").out.strip()
    upstream = {"SLUICE_UPSTREAM": environment["SLUICE_UPSTREAM"]}
    with GatewayProcess.start(tmp_path / "gateway.log", {**environment, "SLUICE_ADMIN_PORT": str(port)}) as gateway:
        shell.run("runs", "watch", ask(gateway, "echo"), "--tenant", "acme", "--url", gateway.origin)
        told = shell.run(*asking, "--token", token, **upstream)
        refused = shell.run(*asking, "--token", "nonsense", **upstream)
    nobody = shell.run(*asking, "--token", token, **upstream)

    targets = {row["id"]: row["targets"] for row in told.json}
    assert (targets["upstream"], targets["openai"]) == ({"closed": 1}, {})
    assert (refused.status, nobody.status) == (65, 75)
