"""llama.cpp's server for fixtures: start it over a tiny model, stop it."""

import time
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.llama import Variant
from tests.provider.child import Child, NotStarted


@dataclass(frozen=True, slots=True)
class LlamaProcess:
    """llama.cpp's server in a process of its own; leaving the ``with`` block stops it.

    ``model`` is the name of its only model, ``log`` what it writes while it works.
    """

    child: Child
    model: Variant
    log: Path

    @classmethod
    def start(
        cls, cache: Path, variant: Variant = "tiny", *, port: int = 0, slots: int = 4, deadline: float = 30.0
    ) -> "LlamaProcess":
        """Start one on ``port``, 0 for a free one, and wait up to ``deadline`` seconds until it is healthy.

        ``cache`` keeps the model's file, made on first use, and the log. ``slots`` requests run at once.

        Raises:
            NotStarted: it did not come up or is not healthy; nothing is left running.
        """
        cache.mkdir(parents=True, exist_ok=True)
        until, log = time.monotonic() + deadline, cache / f"{variant}.log"
        options = ["--cache", str(cache), "--variant", variant, "--port", str(port), "--slots", str(slots)]
        started = cls(Child.start("tests.llama", *options, log=log, deadline=deadline), variant, log)
        try:
            started._wait_until_healthy(until)
        except BaseException:
            started.child.kill()
            raise
        return started

    @property
    def port(self) -> int:
        return self.child.port

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def healthy(self) -> bool:
        """Whether it says that its model is loaded."""
        try:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
                connection.request("GET", "/health")
                return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False

    def stop(self, deadline: float = 5.0) -> None:
        """End it; from then on its port refuses connections."""
        self.child.stop(deadline)

    def kill(self) -> None:
        """End it with SIGKILL, in the middle of whatever it does."""
        self.child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_healthy(self, until: float) -> None:
        while not self.healthy():
            if time.monotonic() > until:
                raise NotStarted(f"llama.cpp's server is not healthy; see {self.log}")
            time.sleep(0.01)
