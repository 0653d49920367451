"""Signed tokens while Redis is away: whose signature is wrong is told so, and everybody else to come back."""

from typing import Any

import pytest

from tests.e2e.client import ask
from tests.e2e.conftest import TENANT, token
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("partings")]

QUESTIONS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "models": ("GET", f"/{TENANT}/v1/models", None),
    "completion": ("POST", f"/{TENANT}/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
}


def forged(good: str) -> str:
    """The token with another signature of the same length."""
    head, claims, signature = good.split(".")
    return ".".join((head, claims, signature[::-1]))


async def test_without_redis_a_bad_signature_is_401_and_a_good_one_503(saving: Stage) -> None:
    gateway = saving.serve(SLUICE_REDIS_SECONDS="0.3")
    good, server = token(), saving.store.nodes[0]
    expired, wrong = token(lifetime=-3_600), forged(good)
    server.kill()

    told = {
        (name, kind): await _told(gateway, question, bearer)
        for name, question in QUESTIONS.items()
        for kind, bearer in {"good": good, "expired": expired, "forged": wrong}.items()
    }

    server.start()
    for name in QUESTIONS:
        assert told[name, "good"] == (503, "service_unavailable", True)
        assert told[name, "expired"] == told[name, "forged"] == (401, "invalid_api_key", False)


async def _told(
    gateway: GatewayProcess, question: tuple[str, str, dict[str, Any] | None], bearer: str
) -> tuple[int, str, bool]:
    method, path, body = question
    answer = await ask(gateway, method, path, body, {"Authorization": f"Bearer {bearer}"})
    await answer.rest()
    return answer.status, answer.headers["x-error-code"], "retry-after" in answer.headers
