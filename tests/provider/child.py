"""A server started as a process of its own, which says where it listens in one line of JSON."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


class NotStarted(Exception):
    """The process ended or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process of ours and the port it announced."""

    process: "subprocess.Popen[bytes]"
    port: int

    @classmethod
    def start(cls, module: str, *arguments: str, log: Path | None = None, deadline: float = 10.0) -> "Child":
        """Run ``module`` on a leash and wait up to ``deadline`` seconds for its line.

        Its standard error is ours, or is appended to ``log``. It ends with us, even where we are killed: its standard
        input is our pipe.

        Raises:
            NotStarted: it ended, or said nothing in time; it is not running any more.
        """
        process = _run([sys.executable, "-m", module, "--leashed", *arguments], log)
        try:
            return cls(process, _announced(process, time.monotonic() + deadline))
        except BaseException:
            _end(process, deadline=0.0)
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, deadline: float = 5.0) -> None:
        """SIGTERM, and SIGKILL when it has not ended after ``deadline`` seconds. Stopping twice is harmless."""
        self.process.terminate()
        _end(self.process, deadline)

    def kill(self) -> None:
        _end(self.process, deadline=0.0)


def announce(port: int) -> None:
    """Say in one line, as the child, that connections are taken from now on."""
    sys.stdout.write(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


def when_orphaned(stop: Callable[[], object]) -> None:
    """Call ``stop`` from a thread of its own once standard input ends: whoever started us is gone."""

    def watch() -> None:
        # Not sys.stdin: its lock would still be held when the interpreter ends.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, daemon=True).start()


def _run(command: list[str], log: Path | None) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    if log is None:
        return subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe)
    with log.open("ab") as errors:
        return subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=errors)


def _announced(process: "subprocess.Popen[bytes]", until: float) -> int:
    """The port in the child's first line, waited for up to ``until``."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
        data = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not data:
            raise NotStarted(f"{process.args!r} {'ended' if ready else 'went on'} without saying where it listens")
        line += data
    port: int = json.loads(line)["port"]
    return port


def _end(process: "subprocess.Popen[bytes]", deadline: float) -> None:
    try:
        process.wait(deadline)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
