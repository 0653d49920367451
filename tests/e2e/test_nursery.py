"""Forked gateways are what started ones are, only sooner."""

from pathlib import Path

import pytest

from tests.gateway import SECRET, GatewayNotStarted, GatewayProcess
from tests.nursery import Nursery, Order

pytestmark = pytest.mark.e2e

SETTINGS = {"SLUICE_JWT_SECRET": SECRET}


def test_a_fork_is_killed_alone(nursery: Nursery, tmp_path: Path) -> None:
    first, second = (GatewayProcess.start(tmp_path / name, SETTINGS, nursery=nursery) for name in ("1", "2"))

    status = first.kill()

    assert status == -9
    assert second.process.poll() is None
    assert second.kill() == -9


def test_a_fork_that_cannot_start_says_why_and_ends_as_sluice_does(nursery: Nursery, tmp_path: Path) -> None:
    wrong = nursery.fork(Order("serve", {"SLUICE_PROT": "1"}, str(tmp_path / "log")))

    status = wrong.wait(10)

    assert status == 78
    assert "SLUICE_PROT: there is no such setting" in (tmp_path / "log").read_text()
    with pytest.raises(GatewayNotStarted, match="SLUICE_PROT"):
        GatewayProcess.start(tmp_path / "log", {"SLUICE_PROT": "1"}, nursery=nursery)


def test_a_fork_has_an_output_of_its_own_and_nobody_elses_connections(nursery: Nursery, tmp_path: Path) -> None:
    gateways = [GatewayProcess.start(tmp_path / name, SETTINGS, nursery=nursery) for name in "12"]

    standard = [[Path(f"/proc/{it.pid}/fd/{number}").resolve() for number in range(3)] for it in gateways]
    first, second, parent = (sockets_of(pid) for pid in (gateways[0].pid, gateways[1].pid, nursery.child.pid))
    for gateway in gateways:
        gateway.kill()

    assert standard == [[Path("/dev/null"), tmp_path / name, tmp_path / name] for name in "12"]
    assert first
    assert not second & (first | parent)


def sockets_of(pid: int) -> set[str]:
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if link.startswith("socket:")}
