"""Gateways that start at once: forks of a process that has imported everything and has loaded the vocabulary.

``Nursery`` is for fixtures. The process itself, ``python -m tests.nursery``, takes connections, one for each gateway:
it is told in a line of JSON what that is to be, and says its process id and, when it has ended, its exit status.
"""

import argparse
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from threading import Lock
from types import TracebackType
from typing import NoReturn, Self

import adapters
import config
import domain
import entrypoints
from adapters.tokenizer.vocabularies import DEFAULT, load
from entrypoints import cli
from tests.provider.child import Child, announce


@dataclass(frozen=True, slots=True)
class Order:
    """What a fork is to be: the command of ``sluice``, the whole of its environment, the file of its output."""

    command: str
    environment: Mapping[str, str]
    log: str


@dataclass(slots=True)
class Fork:
    """A process that was forked for us, with what tests use of ``subprocess.Popen``."""

    pid: int
    connection: socket.socket
    returncode: int | None = None
    _reading: Lock = field(default_factory=Lock)

    def poll(self) -> int | None:
        """The exit status, negative if a signal ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status as soon as there is one.

        Raises:
            subprocess.TimeoutExpired: there is none after ``timeout`` seconds.
        """
        with self._reading:
            if self.returncode is not None:
                return self.returncode
            if not _is_readable(self.connection, timeout):
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0.0)
            # Whoever forked it may be gone, and has then taken it along.
            self.returncode = int(self.connection.recv(100) or -signal.SIGKILL)
            self.connection.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Nursery:
    """Where gateways are forked; leaving the ``with`` block ends it, and what is left of them."""

    child: Child

    @classmethod
    def start(cls) -> "Nursery":
        return cls(Child.start("tests.nursery", deadline=60.0))

    def fork(self, order: Order) -> Fork:
        """Carry out the order in a process of its own."""
        connection = socket.create_connection(("127.0.0.1", self.child.port), timeout=10)
        connection.sendall(json.dumps(asdict(order)).encode() + b"\n")
        pid = b""
        while not pid.endswith(b"\n"):
            # No byte behind the line: that is how it ended.
            pid += connection.recv(1) or _nobody()
        connection.settimeout(None)
        return Fork(int(pid), connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()


def _is_readable(connection: socket.socket, timeout: float | None) -> bool:
    # Not select(), which knows no descriptor from 1024 on.
    with selectors.PollSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(timeout))


def _nobody() -> NoReturn:
    raise ConnectionError("the process that forks gateways has ended")


# --- the process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parent:
    """Forks, and tells how each fork ended."""

    listener: socket.socket
    watched: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def next_order(self) -> Order | None:
        """Returns in each fork, with what it is to be; in the parent, without, when nobody holds its leash any more."""
        self.watched.register(self.listener, selectors.EVENT_READ)
        self.watched.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in self.watched.select():
                if key.fileobj == 0:
                    return None
                if key.fileobj is not self.listener:
                    self._tell_the_end(key)
                elif (order := self._fork()) is not None:
                    return order

    def let_go(self) -> None:
        """Close, as a fork, what is the parent's."""
        for key in list(self.watched.get_map().values()):
            if key.data is not None:
                os.close(key.fd)
                key.data.connection.close()
        self.listener.close()
        self.watched.close()

    def end_all(self) -> None:
        for key in self.watched.get_map().values():
            if key.data is not None:
                os.kill(key.data.pid, signal.SIGKILL)

    def _fork(self) -> Order | None:
        connection, _ = self.listener.accept()
        with connection.makefile("rb") as lines:
            order = Order(**json.loads(lines.readline()))
        pid = os.fork()
        if pid == 0:
            connection.close()
            return order
        self.watched.register(os.pidfd_open(pid), selectors.EVENT_READ, Fork(pid, connection))
        connection.sendall(f"{pid}\n".encode())
        return None

    def _tell_the_end(self, key: selectors.SelectorKey) -> None:
        self.watched.unregister(key.fileobj)
        os.close(key.fd)
        fork: Fork = key.data
        _, status = os.waitpid(fork.pid, 0)
        with suppress(OSError), fork.connection:
            fork.connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def be(order: Order) -> None:
    """Go on as ``sluice``."""
    with Path(order.log).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        for target, source in enumerate((nothing, log, log)):
            os.dup2(source.fileno(), target)
    os.environ.clear()
    os.environ.update(order.environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main([order.command])


def load_everything() -> None:
    """What a gateway does sooner or later, and that is the same for all."""
    for package in (domain, adapters, config, entrypoints):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    load(DEFAULT)
    # What is never looked at again is never copied.
    gc.collect()
    gc.freeze()


def serve() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.nursery", description="Forks gateways.")
    parser.add_argument("--leashed", action="store_true", help="end when standard input ends, which it does anyway")
    parser.parse_args()
    # It goes to the whole group of processes; the gateways heed it themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_everything()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        parent = Parent(listener)
        announce(listener.getsockname()[1])
        order = parent.next_order()
        if order is None:
            parent.end_all()
            return
        parent.let_go()
    be(order)


if __name__ == "__main__":
    serve()
