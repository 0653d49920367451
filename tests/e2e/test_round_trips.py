"""What a request costs Redis: commands, and microseconds of the server, on a warm replica."""

from collections.abc import Mapping

import pytest

from tests.e2e.client import complete
from tests.e2e.conftest import Figure
from tests.e2e.stage import Stage
from tests.gateway import GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("partings")]

REQUESTS = 200
#: What rounds and doorbells send meanwhile is none of a request's; scripts count, what they call inside does not.
TRIPS = ("evalsha", "eval", "get", "exists", "hgetall")


def statistics(stage: Stage) -> dict[str, tuple[int, float]]:
    """Calls and microseconds of each command, as a client sends them."""
    told = stage.store.nodes[0].command("INFO", "commandstats")
    return {
        name.removeprefix("cmdstat_"): (int(values["calls"]), float(values["usec"])) for name, values in told.items()
    }


async def measured(stage: Stage, gateway: GatewayProcess, *, stream: bool) -> Mapping[str, tuple[int, float]]:
    before = statistics(stage)
    for _ in range(REQUESTS):
        answer = await complete(gateway, "words-n20", stream=stream)
        await answer.rest()
        assert answer.status == 200
    after = statistics(stage)
    nothing = (0, 0.0)
    return {
        name: (after[name][0] - before.get(name, nothing)[0], after[name][1] - before.get(name, nothing)[1])
        for name in after
    }


@pytest.mark.parametrize("kind", ["whole", "stream"])
async def test_a_request_asks_redis_a_handful_of_times(stage: Stage, figure: Figure, kind: str) -> None:
    # Leases are long: nobody renews them, and the rounds of housekeeping are all that happens besides.
    gateway = stage.serve(SLUICE_LEASE_SECONDS="60")
    for _ in range(20):
        await (await complete(gateway, "words-n20", stream=kind == "stream")).rest()

    used = await measured(stage, gateway, stream=kind == "stream")

    scripts, micros = used["evalsha"]
    shown = ", ".join(f"{name} {calls / REQUESTS:.2f}" for name, (calls, _) in sorted(used.items()) if name in TRIPS)
    figure(
        f"{scripts / REQUESTS:.2f} scripts a request, rounds of housekeeping among them, {micros / REQUESTS:.0f} "
        f"microseconds of the server in them; inside and outside of scripts: {shown}"
    )
    assert scripts / REQUESTS < 8
