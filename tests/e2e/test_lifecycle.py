"""Starting, stopping, and a Redis that comes and goes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY_CANARY, Start, set_up_tenant, token
from tests.gateway import CHECKOUT, SECRET, GatewayProcess
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

BODY = {"messages": [{"role": "user", "content": "hello"}]}


def headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {token()}"}


def serve(**variables: str) -> "subprocess.CompletedProcess[str]":
    """A start that is expected to fail."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")} | variables
    command = [sys.executable, "-c", "from entrypoints.cli import main; main()", "serve"]
    return subprocess.run(
        command, check=False, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=30
    )


def test_all_wrong_settings_are_told_at_once() -> None:
    ended = serve(SLUICE_PROT="1", SLUICE_PORT="http", SLUICE_JWT_SECRET="short")

    assert ended.returncode == 78
    assert "SLUICE_PROT: there is no such setting; did you mean SLUICE_PORT?" in ended.stderr
    assert "SLUICE_PORT:" in ended.stderr
    assert "SLUICE_JWT_SECRET: must have 32 bytes at least" in ended.stderr
    assert "short" not in ended.stderr.replace("SLUICE", "")


def test_a_wrong_catalogue_is_told_by_file_and_field(tmp_path: Path) -> None:
    wrong = tmp_path / "mine.toml"
    wrong.write_text('[mine]\nname = "Mine"\nbase_url = "ftp://nowhere"\ncolour = "red"\n')

    ended = serve(SLUICE_PROVIDERS=str(wrong))

    assert ended.returncode == 78
    assert "mine.toml" in ended.stderr
    assert "base_url" in ended.stderr
    assert "colour" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_provider_in_a_tenants_place_keeps_the_gateway_from_starting(redis: RedisServer) -> None:
    redis.command("SET", "tenant:openai", '{"user_groups": []}')

    ended = serve(SLUICE_REDIS_URL=redis.url, SLUICE_PORT="0")

    assert ended.returncode != 0
    assert "openai" in ended.stderr


def test_a_redis_that_may_evict_balances_keeps_the_gateway_from_starting(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    try:
        ended = serve(SLUICE_REDIS_URL=redis.url, SLUICE_PORT="0", SLUICE_JWT_SECRET=SECRET)
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")

    assert ended.returncode == 78
    assert "maxmemory-policy is allkeys-lru and may evict balances" in ended.stderr


def test_sigterm_lets_a_stream_finish_and_then_ends_cleanly(start: Start) -> None:
    gateway = start(SLUICE_DRAIN_SECONDS="20")
    body = {**BODY, "model": "words-n40-i25", "stream": True}
    url = f"{gateway.origin}/acme/v1/chat/completions"

    with httpx.stream("POST", url, json=body, headers=headers(), timeout=20) as response:
        told = response.iter_text()
        heard = next(told)
        gateway.process.send_signal(signal.SIGTERM)
        heard += "".join(told)

    assert heard.endswith("data: [DONE]\n\n")
    assert '"w39' in heard
    assert gateway.process.wait(15) == 0


def test_a_stream_that_outlives_the_drain_ends_with_an_error_and_is_settled(start: Start, redis: RedisServer) -> None:
    gateway = start(SLUICE_DRAIN_SECONDS="0.3")
    body = {**BODY, "model": "words-n2000-i10", "stream": True}
    url = f"{gateway.origin}/acme/v1/chat/completions"

    with httpx.stream("POST", url, json=body, headers=headers(), timeout=20) as response:
        told = response.iter_text()
        heard = next(told)
        gateway.process.send_signal(signal.SIGTERM)
        heard += "".join(told)

    assert '"code":"generation_interrupted"' in heard
    assert "[DONE]" not in heard
    assert gateway.process.wait(15) == 0
    assert 0 < int(redis.command("GET", "tokens:acme:staff:u1")) < 1_000_000


def test_a_draining_replica_says_so_and_takes_nothing_new(start: Start) -> None:
    gateway = start(SLUICE_DRAIN_SECONDS="20")
    body = {**BODY, "model": "words-n100-i25", "stream": True}
    url = f"{gateway.origin}/acme/v1/chat/completions"

    with httpx.stream("POST", url, json=body, headers=headers(), timeout=20) as response:
        next(response.iter_text())
        gateway.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 5
        while (ready := httpx.get(f"{gateway.origin}/readyz")).status_code == 200 and time.monotonic() < until:
            pass
        refused = httpx.post(url, json=BODY, headers=headers())

    assert ready.status_code == 503
    assert (refused.status_code, refused.headers["x-error-code"]) == (503, "shutting_down")
    assert "retry-after" in refused.headers


def test_without_redis_it_starts_says_that_it_is_not_ready_and_recovers(start: Start, redis: RedisServer) -> None:
    redis.stop()
    try:
        gateway = start()
        health, ready = httpx.get(f"{gateway.origin}/healthz"), httpx.get(f"{gateway.origin}/readyz")
        began = time.monotonic()
        refused = httpx.post(f"{gateway.origin}/acme/v1/chat/completions", json=BODY, headers=headers(), timeout=20)
        waited = time.monotonic() - began
    finally:
        redis.start()
    set_up_tenant(redis)
    until = time.monotonic() + 10
    while (served := ask_again(gateway)).status_code != 200 and time.monotonic() < until:
        pass

    assert (health.status_code, ready.status_code) == (200, 503)
    assert ready.json()["checks"]["redis"] == "does not answer"
    assert (refused.status_code, refused.headers["x-error-code"]) == (503, "service_unavailable")
    assert "retry-after" in refused.headers
    assert waited < 5
    assert served.status_code == 200
    assert httpx.get(f"{gateway.origin}/readyz").status_code == 200


def ask_again(gateway: GatewayProcess) -> httpx.Response:
    return httpx.post(f"{gateway.origin}/acme/v1/chat/completions", json=BODY, headers=headers(), timeout=20)


def test_a_redis_that_is_away_in_mid_stream_costs_the_reader_only_time(start: Start, redis: RedisServer) -> None:
    gateway = start()
    body = {**BODY, "model": "words-n60-i20", "stream": True}
    url = f"{gateway.origin}/acme/v1/chat/completions"

    with httpx.stream("POST", url, json=body, headers=headers(), timeout=20) as response:
        told = response.iter_text()
        heard = next(told)
        redis.freeze()
        threading.Timer(1.5, redis.thaw).start()
        heard += "".join(told)

    assert [word for word in heard.split('"content":"') if word.startswith("w")][-1].startswith("w59")
    assert heard.count('"content":"w') == 60
    assert heard.endswith("data: [DONE]\n\n")
    assert KEY_CANARY not in heard
