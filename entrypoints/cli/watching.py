"""A run that is watched over the public API: its stream, read across whatever breaks it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

#: Seconds between two attempts, at first and at most; the server's own wish comes before.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: Codes that are not about the run; a proxy before the gateway has none.
_PASSING = (None, "service_unavailable", "shutting_down", "timeout", "rate_limit_exceeded")
#: A stream is never silent for longer: the gateway sends a comment at least every 15 seconds by default.
_SILENCE = 60.0


class RunRefused(Exception):
    """The gateway will not show the run; asking again would not help."""


class GaveUp(Exception):
    """Nobody has answered for too long."""


@dataclass(slots=True)
class Watcher:
    """Follows one run. ``patience`` is how many seconds it goes on without hearing anything new."""

    client: "httpx.Client"
    path: str
    patience: float
    pause: Callable[[float], None] = time.sleep
    resumed: int = 0
    _last: str | None = None
    _heard_at: float = field(default_factory=time.monotonic)

    def events(self) -> Iterator[dict[str, Any]]:
        """The run's events, each once, up to its end; an event with ``error`` is the last one of a run that failed.

        Raises:
            RunRefused: the run is not to be had.
            GaveUp: nothing was heard for as long as there was patience.
        """
        import httpx

        wait = _FIRST_PAUSE
        while True:
            try:
                for event in self._read():
                    wait = _FIRST_PAUSE
                    if event is None:
                        return
                    yield event
            except (httpx.TransportError, _Unready):
                pass
            if time.monotonic() - self._heard_at > self.patience:
                raise GaveUp
            self.pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)
            self.resumed += 1

    def _read(self) -> Iterator[dict[str, Any] | None]:
        """The events of one connection; None is the end of the run."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last} if self._last else {})
        asked: dict[str, Any] = {"headers": headers, "params": {"stream": "true"}, "timeout": _SILENCE}
        with self.client.stream("GET", self.path, **asked) as answer:
            if answer.status_code != 200:
                answer.read()
                yield self._refused(answer)
                yield None
                return
            for number, data in _frames(answer.iter_raw()):
                self._last = number or self._last
                self._heard_at = time.monotonic()
                if data == "[DONE]":
                    yield None
                    return
                event = json.loads(data)
                yield event
                if "error" in event:
                    yield None
                    return

    def _refused(self, answer: "httpx.Response") -> dict[str, Any]:
        """The failure of the run as an event, where the answer is that.

        Raises:
            _Unready: it is not, and may be another one in a moment: a proxy's, or a gateway's that is stopping.
            RunRefused: it is not.
        """
        if answer.headers.get("x-error-code") in _PASSING:
            raise _Unready
        if "x-completion-id" not in answer.headers:
            raise RunRefused(_message(answer.content))
        return {"error": _message(answer.content)}


class _Unready(Exception):
    """The gateway answers, and is not ready: worth another try."""


def _frames(chunks: Iterator[bytes]) -> Iterator[tuple[str | None, str]]:
    """Id and data of each event that came whole; comments and what was cut are none."""
    # Not by lines of text: a string in JSON may hold characters that Python takes for ends of lines.
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for block in whole:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line and line[:1] != b":")
            if b"data" in fields:
                number = fields.get(b"id")
                yield number.decode() if number is not None else None, fields[b"data"].decode()


def _message(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError):
        return "The gateway refused."
