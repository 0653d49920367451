"""Liveness and readiness, for whoever restarts replicas and routes to them."""

import asyncio
from dataclasses import dataclass

import pytest
from dependency_injector import providers

from config.container import Container
from entrypoints.http.exchange import Exchange
from entrypoints.http.ops import MANNERS, Ops
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import TENANT
from tests.provider.process import ProviderProcess


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A dependency that says what it was told to say."""

    name: str
    reason: str | None = None

    async def check(self) -> str | None:
        return self.reason

    async def flaw(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Hanging:
    """A dependency that never answers."""

    name: str = "hanging"

    async def check(self) -> str | None:
        await asyncio.Event().wait()
        return None

    async def flaw(self) -> str | None:
        return None


async def test_a_replica_that_answers_is_alive(replica: Replica) -> None:
    answer = await replica.client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]


async def test_a_replica_whose_neighbours_answer_is_ready(replica: Replica) -> None:
    answer = await replica.client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"registry": "ok"}})
    assert answer.headers["cache-control"] == "no-store"


async def test_a_replica_without_a_neighbour_says_why_it_is_not_ready(process: ProviderProcess) -> None:
    def add_neighbours(container: Container) -> None:
        container.checks.add_args(
            providers.Object(Neighbour("redis", "refused the connection")), providers.Object(Neighbour("issuer"))
        )

    async with running(process, prepare=add_neighbours) as lonely:
        ready = await lonely.client.get("/readyz")
        alive = await lonely.client.get("/healthz")

    checks = {"registry": "ok", "redis": "refused the connection", "issuer": "ok"}
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "checks": checks})
    assert alive.status_code == 200


async def test_a_neighbour_that_hangs_does_not_hang_readiness() -> None:
    ops = Ops((Hanging(),), check_seconds=0.01)

    answer = await ops.ready(None, Exchange("req-1", "/readyz", MANNERS))  # type: ignore[arg-type] # it is not looked at

    assert answer.status == 503
    assert b'"hanging":"no answer in time"' in (answer.body or b"")


async def test_a_replica_that_is_ending_is_alive_but_not_ready(process: ProviderProcess) -> None:
    async with running(process) as ending:
        await ending.drain()
        ready = await ending.client.get("/readyz")
        alive = await ending.client.get("/healthz")

    assert (ready.status_code, ready.json()["checks"]["drain"]) == (503, "shutting down")
    assert alive.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_no_token_is_asked_for(member: Member, path: str) -> None:
    plain = await member.replica.client.get(path)
    signed = await member.replica.client.get(path, headers=member.headers(TENANT))

    assert plain.status_code == signed.status_code == 200
