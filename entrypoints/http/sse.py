"""Server-sent events of a run, for one view of it.

Keep-alives are comments of one line: an ``id:`` followed by an empty event makes OpenAI's own client raise.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncGenerator, Sequence

import orjson

from domain.chat import JsonObject
from domain.completions.tail import Tail
from domain.errors import SluiceError
from domain.runs import END_PLACE, USAGE_PLACE, Ending, Run, Status
from entrypoints.http.errors import error_object

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b": ka\n"
#: Milliseconds after which a browser's EventSource comes back by itself.
_RETRY = b"retry: 2000\n"


class Frames:
    """Renders what a run's log holds: the stored part of a chunk between this view's head and the end of the frame."""

    def __init__(self, run: Run) -> None:
        self._place = f"id: {run.id}:{run.attempt}-".encode()
        usage = b'"usage":null,' if run.include_usage else b""
        identity = orjson.dumps({"id": run.answer_id, "object": "chat.completion.chunk", "created": run.created})
        self._head = b"data: " + identity[:-1] + b"," + usage
        self._include_usage = run.include_usage
        self._identity: JsonObject = orjson.loads(identity)
        self._model = run.model
        self._prefix = _RETRY

    def entry(self, seq: int, data: bytes) -> bytes:
        """The frame of log entry ``seq``; ``data`` is a JSON object with at least one member."""
        prefix, self._prefix = self._prefix, b""
        return b"%s%s%d\n%s%s\n\n" % (prefix, self._place, seq, self._head, data[1:])

    def ending(self, entries: Sequence[bytes], ending: Ending, seen: int) -> bytes:
        """The frames behind the last of the entries, for a reader who has seen everything up to ``seen``."""
        tail = len(entries)
        if ending.status is not Status.COMPLETED:
            return self._end(tail, orjson.dumps({"error": error_object(_failure(ending))}))
        frames = b""
        if self._include_usage and ending.usage is not None and seen < tail + USAGE_PLACE:
            model = orjson.loads(entries[-1]).get("model") if entries else self._model
            data = orjson.dumps({**self._identity, "model": model, "choices": [], "usage": ending.usage.as_json()})
            frames = b"%s%d\ndata: %s\n\n" % (self._place, tail + USAGE_PLACE, data)
        return frames + self._end(tail, b"[DONE]")

    def _end(self, tail: int, data: bytes) -> bytes:
        return b"%s%d\ndata: %s\n\n" % (self._place, tail + END_PLACE, data)


async def follow(tail: Tail, seen: int, keep_alive: float) -> AsyncGenerator[bytes, None]:
    """The frames behind place ``seen``, as they come; a comment for every ``keep_alive`` seconds of silence."""
    frames = Frames(tail.run)
    at = seen
    while True:
        if not await tail.grown(at, keep_alive):
            yield KEEP_ALIVE
            continue
        # Everything that has come meanwhile leaves in one write.
        entries = tail.entries[at:]
        batch = b"".join(frames.entry(at + offset, data) for offset, data in enumerate(entries, start=1))
        at += len(entries)
        if tail.ending is not None:
            yield batch + frames.ending(tail.entries, tail.ending, at)
            return
        yield batch


def _failure(ending: Ending) -> SluiceError:
    if ending.error is not None:
        return ending.error.as_exception()
    return SluiceError(f"The completion was {ending.status.value}.")
