"""The scripted provider for fixtures: start it, ask what it has seen, stop it."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self

from tests.provider.child import Child
from tests.provider.exchange import Seen


@dataclass(frozen=True, slots=True)
class ProviderProcess:
    """A scripted provider in a process of its own; leaving the ``with`` block stops it.

    Its verbs block for about a millisecond. Inside an event loop that serves the gateway under test, wait with
    ``seen_when``, which leaves the loop free.
    """

    child: Child

    @classmethod
    def start(cls, *, port: int = 0, deadline: float = 10.0) -> "ProviderProcess":
        """Start one on ``port``, 0 for a free one, within ``deadline`` seconds.

        Raises:
            NotStarted: it did not come up; nothing is left running.
        """
        return cls(Child.start("tests.provider", "--port", str(port), deadline=deadline))

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

    def base_url_as(self, model: str) -> str:
        """A base URL under which every model behaves like ``model``."""
        return f"{self.origin}/as/{model}/v1"

    def requests(self) -> list[Seen]:
        """Every request since the start or the last ``reset``, oldest first."""
        return [Seen(**seen) for seen in self._memory("GET")]

    def reset(self) -> None:
        """Forget all requests; ``flap`` starts again with an answer."""
        self._memory("DELETE")

    def wait_until(self, met: Callable[[Sequence[Seen]], bool], *, deadline: float = 5.0) -> list[Seen]:
        """The requests as soon as they satisfy ``met``.

        Raises:
            TimeoutError: they do not after ``deadline`` seconds; the message holds what was seen.
        """
        until = time.monotonic() + deadline
        while not met(seen := self.requests()):
            if time.monotonic() > until:
                raise TimeoutError(f"after {deadline} s the provider has seen {seen}")
            time.sleep(0.01)
        return seen

    async def seen_when(self, met: Callable[[Sequence[Seen]], bool], *, deadline: float = 5.0) -> list[Seen]:
        """``wait_until`` for event loops."""
        return await asyncio.to_thread(self.wait_until, met, deadline=deadline)

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

    def _memory(self, method: str) -> list[dict[str, Any]]:
        # Not urllib: it would ask a proxy where the environment names one.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, "/_seen")
            found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()
