"""The gateway for fixtures: ``sluice serve`` or ``sluice worker`` as a process, configured as an operator would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.nursery import Fork, Nursery, Order
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[1]
#: Long enough for HS256; made up.
SECRET = "a secret that only the tests know, 32 bytes and more"


class GatewayNotStarted(Exception):
    """The process ended or did not answer in time; its log is the message."""


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running replica; leaving the ``with`` block ends it. ``log`` is what it wrote to standard output and error."""

    process: "subprocess.Popen[bytes] | Fork"
    port: int
    log_file: Path

    @classmethod
    def start(
        cls,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
        *,
        command: str = "serve",
        nursery: Nursery | None = None,
        deadline: float = 20.0,
    ) -> "GatewayProcess":
        """Serve, or only work, on a free port unless one is named, with these ``SLUICE_*`` variables and none of ours.

        With a ``nursery`` it is a fork, which spares it half a second of loading and nothing else.

        Raises:
            GatewayNotStarted: it did not come up; nothing is left running.
        """
        port = int((environment or {}).get("SLUICE_PORT", 0)) or free_port()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        # A machine that many tests share may be late without anybody asking too much of the gateway.
        variables |= {"SLUICE_SHED_LAG_SECONDS": "", **(environment or {}), "SLUICE_PORT": str(port)}
        process: subprocess.Popen[bytes] | Fork
        if nursery is None:
            process = _run(command, variables, log_file)
        else:
            process = nursery.fork(Order(command, variables, str(log_file)))
        gateway = cls(process, port, log_file)
        gateway.wait_until_it_answers(time.monotonic() + deadline)
        return gateway

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_for_log(self, text: str, *, deadline: float = 5.0) -> str:
        """The log as soon as it holds ``text``.

        Raises:
            TimeoutError: it does not after ``deadline`` seconds.
        """
        until = time.monotonic() + deadline
        while text not in (log := self.log):
            if time.monotonic() > until:
                raise TimeoutError(f"{text!r} is not in the log:\n{log}")
            time.sleep(0.02)
        return log

    def stop(self, deadline: float = 15.0) -> int:
        """SIGTERM, even if it is frozen; the exit status. SIGKILL after ``deadline`` seconds. Twice is harmless."""
        self.process.send_signal(signal.SIGTERM)
        self.thaw()
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        self.process.kill()
        return self.process.wait()

    def freeze(self) -> None:
        """Stop it from running, with all its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_it_answers(self, until: float) -> None:
        """Return once it says that it is healthy; ``until`` is by the monotonic clock.

        Raises:
            GatewayNotStarted: it did not; nothing is left running.
        """
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise GatewayNotStarted(self.log)
            time.sleep(0.02)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _run(command: str, variables: Mapping[str, str], log_file: Path) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-c", "from entrypoints.cli import main; main()", command]
    with log_file.open("ab") as log:
        return subprocess.Popen(program, cwd=CHECKOUT, env=variables, stdout=log, stderr=log)
