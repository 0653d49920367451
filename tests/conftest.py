"""What all tests share, and how they are shared out between processes."""

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.nursery import Nursery

#: Files whose tests watch the clock, or keep a machine busy: never two of them at the same time. They wait most of
#: their time, so that one process can see to them while another one computes.
TIMED = frozenset(
    f"tests/{name}.py"
    for name in (
        "clients/test_clients",
        "clients/test_reconnecting",
        "e2e/test_benchmarks",
        "e2e/test_dark_redis",
        "e2e/test_ledger_soak",
        "e2e/test_many_readers",
        "e2e/test_producer_dies",
        "e2e/test_queue_of_workers",
        "e2e/test_rate_across_replicas",
        "e2e/test_redis_faults",
        "e2e/test_round_trips",
    )
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery.start() as running:
        yield running


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """A file's tests stay together, for the servers that they share; the timed files are one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "timed" if file in TIMED else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The timed files come first: they take as long as all others together."""
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in TIMED)
