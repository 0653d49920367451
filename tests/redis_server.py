"""Real Redis servers for tests: single ones and clusters of three, on loopback ports of their own.

Each is a process that is signalled by its own id, and gone when the ``with`` block ends.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from tests.ports import free_port

_TOOLS = Path(__file__).parents[1] / ".tools"
#: The number of hash slots. https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
_SLOTS = 16_384


@dataclass(slots=True)
class RedisServer:
    """A server that can be stopped, killed, frozen and started again at the same address, with what it has saved."""

    port: int
    folder: Path
    options: tuple[str, ...] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([_program(), *self.options, *place], stdout=log, stderr=log)
        wait_until(self.answers, f"redis-server on port {self.port}; see {self.folder / 'log'}")

    def stop(self) -> None:
        """End it in an orderly way, even if it is frozen or gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it from running, with all its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def command(self, *words: str | bytes | int) -> Any:
        with redis.Redis("127.0.0.1", self.port, protocol=2, socket_timeout=5) as client:
            return client.execute_command(*words)

    def answers(self) -> bool:
        try:
            return self.command("PING") is not None
        except (RedisError, OSError):
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(10)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """Servers that share the slots among them."""

    nodes: Sequence[RedisServer]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def is_ready(self) -> bool:
        """Whether each node knows all the others and finds the cluster whole."""
        infos = [node.command("CLUSTER", "INFO").decode() for node in self.nodes]
        known = f"cluster_known_nodes:{len(self.nodes)}"
        return all("cluster_state:ok" in info and known in info for info in infos)


@contextmanager
def redis_server(folder: Path, *options: str, append_only: bool = False) -> Iterator[RedisServer]:
    """A server that keeps its data in memory, or, ``append_only``, in a file that survives its death."""
    keeping = ("--appendonly", "yes", "--appendfsync", "always") if append_only else ("--appendonly", "no")
    server = RedisServer(free_port(), folder, ("--save", "", *keeping, *options))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def redis_sentinel(folder: Path, master: RedisServer) -> Iterator[RedisServer]:
    """A sentinel of its own, which knows the master as ``main``."""
    configuration = folder / "sentinel.conf"
    configuration.write_text(f"sentinel monitor main 127.0.0.1 {master.port} 1\n")
    sentinel = RedisServer(free_port(), folder, (str(configuration), "--sentinel"))
    try:
        sentinel.start()
        yield sentinel
    finally:
        sentinel.kill()


@contextmanager
def redis_cluster(folder: Path, size: int = 3) -> Iterator[RedisCluster]:
    """A cluster without replicas, ready for use."""
    with ExitStack() as stack:
        nodes = []
        for number in range(size):
            home = folder / str(number)
            home.mkdir()
            bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            nodes.append(stack.enter_context(redis_server(home, *bus)))
        cluster = RedisCluster(nodes)
        _join(nodes)
        wait_until(cluster.is_ready, "the cluster")
        yield cluster


def wait_until(met: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Return as soon as the condition is met; fail after so many seconds without."""
    until = time.monotonic() + seconds
    while not met():
        if time.monotonic() > until:
            raise TimeoutError(f"not after {seconds} s: {what}")
        time.sleep(0.01)


def _join(nodes: Sequence[RedisServer]) -> None:
    """Give each node its share of the slots and make it known to all the others."""
    for number, node in enumerate(nodes):
        first, last = (_SLOTS * place // len(nodes) for place in (number, number + 1))
        node.command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node, other in permutations(nodes, 2):
        bus = other.options[other.options.index("--cluster-port") + 1]
        node.command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)


def _program() -> str:
    own = _TOOLS / "redis-server"
    found = str(own) if own.exists() else shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("no redis-server in .tools or on PATH; `make test-tools` fetches one")
    return found
