"""Server-sent events of a run, for one view of it.

Keep-alives are comments of one line: an ``id:`` followed by an empty event makes OpenAI's own client raise.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncGenerator, Sequence

import orjson

from domain.chat import JsonObject
from domain.completions.tail import Tail
from domain.errors import CompletionCancelled, InternalError, SluiceError
from domain.runs import END_PLACE, USAGE_PLACE, Ending, Run, Status
from entrypoints.http.errors import error_object

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b": ka\n"
#: Milliseconds after which a browser's EventSource comes back by itself.
_RETRY = b"retry: 2000\n"
#: The most entries in one write.
_AT_ONCE = 512


class Frames:
    """Renders what a log holds: the stored part of a chunk between this view's head and the end of the frame.

    ``run`` is the view, whose ids the events carry; ``tail`` is the log's, whose attempt they carry.
    """

    def __init__(self, run: Run, tail: Tail) -> None:
        self._run = run
        self._tail = tail
        self._place = b""
        usage = b'"usage":null,' if run.include_usage else b""
        identity = orjson.dumps({"id": run.answer_id, "object": "chat.completion.chunk", "created": run.created})
        self._head = b"data: " + identity[:-1] + b"," + usage
        self._identity: JsonObject = orjson.loads(identity)
        self._prefix = _RETRY

    def batch(self, seen: int, entries: Sequence[bytes]) -> bytes:
        """The frames of these entries, which come behind place ``seen``."""
        place, head = self._placed(), self._head
        frames = b"".join(
            [b"%s%d\n%s%s\n\n" % (place, seq, head, data[1:]) for seq, data in enumerate(entries, start=seen + 1)]
        )
        if not frames:
            return frames
        prefix, self._prefix = self._prefix, b""
        return prefix + frames

    def _placed(self) -> bytes:
        # Not before there is something to place: until then, the run may begin again.
        if not self._place:
            self._place = f"id: {self._run.id}:{self._tail.run.attempt}-".encode()
        return self._place

    def ending(self, entries: Sequence[bytes], ending: Ending, seen: int) -> bytes:
        """The frames behind the last of the entries, for a reader who has seen everything up to ``seen``."""
        tail = len(entries)
        if ending.status is not Status.COMPLETED:
            return self._end(tail, orjson.dumps({"error": error_object(_failure(ending))}))
        frames = b""
        if self._run.include_usage and ending.usage is not None and seen < tail + USAGE_PLACE:
            model = orjson.loads(entries[-1]).get("model") if entries else self._run.model
            data = orjson.dumps({**self._identity, "model": model, "choices": [], "usage": ending.usage.as_json()})
            frames = b"%s%d\ndata: %s\n\n" % (self._placed(), tail + USAGE_PLACE, data)
        return frames + self._end(tail, b"[DONE]")

    def _end(self, tail: int, data: bytes) -> bytes:
        return b"%s%d\ndata: %s\n\n" % (self._placed(), tail + END_PLACE, data)


async def follow(run: Run, tail: Tail, seen: int, keep_alive: float) -> AsyncGenerator[bytes, None]:
    """A view's frames behind place ``seen``, as they come; a comment for every ``keep_alive`` seconds of silence."""
    frames = Frames(run, tail)
    at = seen
    while True:
        if not await tail.grown(at, keep_alive):
            yield KEEP_ALIVE
            continue
        # What has come meanwhile leaves in one write, of bounded size: a slow reader holds up nobody's memory.
        entries = tail.entries[at : at + _AT_ONCE]
        batch = frames.batch(at, entries)
        at += len(entries)
        if tail.ending is not None and at >= len(tail.entries):
            yield batch + frames.ending(tail.entries, tail.ending, at)
            return
        yield batch


def _failure(ending: Ending) -> SluiceError:
    if ending.error is not None:
        return ending.error.as_exception()
    return CompletionCancelled() if ending.status is Status.CANCELLED else InternalError()
