"""A store and what runs on it: replicas and workers that tests start, kill, freeze and start again."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from adapters.redis.keys import RunKeys
from tests.e2e.conftest import KEY_CANARY, TENANT, USER, require_silence
from tests.gateway import SECRET, GatewayProcess
from tests.nursery import Nursery
from tests.provider.process import ProviderProcess
from tests.redis_server import RedisCluster, RedisServer

BALANCE = 1_000_000
#: What the tests wait for is over sooner; the defaults have a test of their own.
BRIEF = {"SLUICE_LEASE_SECONDS": "2"}
PROVIDERS = "providers.toml"


@dataclass(frozen=True, slots=True)
class Store:
    """The Redis behind a stage, one server or a cluster, asked past the gateway."""

    server: RedisServer | RedisCluster

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def nodes(self) -> tuple[RedisServer, ...]:
        return (self.server,) if isinstance(self.server, RedisServer) else tuple(self.server.nodes)

    def command(self, word: str, key: str, *words: str | bytes | int) -> Any:
        """The reply to a command about one key."""
        return self.node_of(key).command(word, key, *words)

    def all_keys(self, pattern: str = "*") -> list[str]:
        return sorted(key.decode() for node in self.nodes for key in node.command("KEYS", pattern))

    def balance(self) -> int:
        return int(self.command("GET", f"tokens:{TENANT}:staff:{USER}"))

    def spent(self) -> int:
        return BALANCE - self.balance()

    def settlements(self) -> list[int]:
        """What each hold that has ended was charged."""
        found = [self.command("GET", key).decode() for key in self.all_keys("{tokens:*}:closed:*")]
        return [int(text.partition(":")[2]) for text in found]

    def record(self, run_id: str) -> dict[str, str]:
        found = self.command("HGETALL", RunKeys.of(run_id).record)
        return {name.decode(): value.decode() for name, value in found.items()}

    def log(self, run_id: str) -> list[Any]:
        """The entries of a run's log, as they stand in Redis."""
        found: list[Any] = self.command("XRANGE", RunKeys.of(run_id).log, "-", "+")
        return found

    def info(self, section: str) -> dict[str, Any]:
        """INFO of a single server."""
        found: dict[str, Any] = self.nodes[0].command("INFO", section)
        return found

    def empty(self) -> None:
        """Nothing but a tenant and its user's balance."""
        for node in self.nodes:
            node.command("FLUSHALL")
        self.set_up()

    def set_up(self, **changes: Any) -> None:
        document = {
            "user_groups": ["anonymous", "staff"],
            "api_keys": {"openai": KEY_CANARY},
            "default": "openai",
            "default_model": "echo",
            **changes,
        }
        self.command("SET", f"tenant:{TENANT}", json.dumps(document))
        self.command("SET", f"tokens:{TENANT}:staff:{USER}", BALANCE)

    def node_of(self, key: str) -> RedisServer:
        """The server that has this key's slot."""
        nodes = self.nodes
        if len(nodes) == 1:
            return nodes[0]
        slot = nodes[0].command("CLUSTER", "KEYSLOT", key)
        return next(node for place, node in enumerate(nodes) if 16_384 * place // 3 <= slot < 16_384 * (place + 1) // 3)


@dataclass(slots=True)
class Stage:
    """Starts replicas and workers on a store, with the scripted provider as ``openai``; ``strike`` ends them all."""

    folder: Path
    store: Store
    provider: ProviderProcess
    nursery: Nursery
    running: list[GatewayProcess] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def serve(self, command: str = "serve", **variables: str) -> GatewayProcess:
        """One more process, with these settings beside brief leases."""
        environment = {
            "SLUICE_REDIS_URL": self.store.url,
            # A busy machine is not to be taken for an outage.
            "SLUICE_REDIS_SECONDS": "1",
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_PROVIDERS": str(self.folder / PROVIDERS),
            **BRIEF,
            **variables,
        }
        log_file = self.folder / f"{command}-{next(self.numbers)}.log"
        process = GatewayProcess.start(log_file, environment, command=command, nursery=self.nursery)
        self.running.append(process)
        return process

    def work(self, **variables: str) -> GatewayProcess:
        return self.serve("worker", **variables)

    def serve_two(self, **variables: str) -> tuple[GatewayProcess, GatewayProcess]:
        """Two replicas with the same settings, started at the same time."""
        with ThreadPoolExecutor() as threads:
            first, second = (threads.submit(self.serve, **variables) for _ in range(2))
            return first.result(), second.result()

    def strike(self) -> None:
        left = [process for process in self.running if process.process.poll() is None]
        with ThreadPoolExecutor(max(len(left), 1)) as threads:
            statuses = list(threads.map(GatewayProcess.stop, left))
        for process in self.running:
            require_silence(process.log)
        assert set(statuses) <= {0}, f"did not end when asked to: {[process.log_file for process in left]}, {statuses}"


def staged(
    folder: Path, provider: ProviderProcess, nursery: Nursery, server: RedisServer | RedisCluster
) -> Iterator[Stage]:
    """The body of a fixture: an empty store, a provider that has forgotten everything, and nothing left behind."""
    store = Store(server)
    store.empty()
    provider.reset()
    # Not anew with each process: another one may just be reading it.
    (folder / PROVIDERS).write_text(f'[openai]\nbase_url = "{provider.base_url}"\nmodels = "any"\n')
    stage = Stage(folder, store, provider, nursery)
    yield stage
    stage.strike()
