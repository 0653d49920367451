"""One streamed answer on its way from bytes to chunks, and the question of whether it is whole. Does no I/O."""

import re

from adapters.openai.sse import MAX_EVENT_BYTES, EventParser, EventTooLarge
from adapters.openai.wire import ChunkReader
from domain.chat import Chunk, Completion
from domain.completions.assembly import Assembly
from domain.errors import ProviderBadResponse, ProviderError, ProviderTruncated
from domain.ports import Call

_DONE = b"[DONE]"
_OF_OBJECTS = re.compile(rb'["{}]')


class StreamedAnswer:
    """Feed it what comes, stop when it is over, and then let it conclude.

    Chunks in front of a mistake are given out before the mistake is raised: they came in time and in good order.
    """

    def __init__(self, call: Call, event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._parser = EventParser(event_bytes)
        self._reader = ChunkReader(call)
        self._failure: ProviderError | None = None
        self.events = 0
        #: Malformed events, which are none: they show neither that the provider is alive nor that it is not.
        self.skipped = 0
        self.is_done = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to read: the provider said so, or what it said was wrong."""
        return self.is_done or self._failure is not None

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole, even if nothing more should come."""
        return self._reader.is_finished

    @property
    def is_exhausted(self) -> bool:
        """Whether only the end can come."""
        return self._reader.is_exhausted

    def feed(self, data: bytes) -> tuple[Chunk, ...]:
        """The chunks that these bytes complete."""
        chunks: list[Chunk] = []
        try:
            for event in self._parser.feed(data):
                if self._take(event, chunks):
                    break
        except EventTooLarge:
            self._failure = ProviderBadResponse(detail="an event that is too large")
        except ProviderError as error:
            self._failure = error
        return tuple(chunks)

    def conclude(self) -> None:
        """Raise unless the answer may end here.

        Raises:
            ProviderBadResponse: it has nothing in it.
            ProviderTruncated: it ends before it is whole. A provider that says [DONE] is taken at its word.
            ProviderError: what went wrong in ``feed``.
        """
        if self._failure is not None:
            raise self._failure
        if not self._reader.has_choices:
            raise ProviderBadResponse(detail="a stream without choices")
        if not (self.is_done or self.is_finished):
            raise ProviderTruncated(detail="the stream ended without a finish reason")

    def _take(self, event: bytes, chunks: list[Chunk]) -> bool:
        """Read one event; whether it was the mark of the end."""
        event = event.strip()
        if not event:
            # It keeps a connection alive and says no more than a comment would.
            return False
        self.is_done = event == _DONE
        try:
            chunk = self._reader.read(event) if not self.is_done else None
        except ProviderBadResponse:
            if not self._is_harmless(event):
                raise
            self.skipped += 1
            return False
        self.events += 1
        if chunk is not None:
            chunks.append(chunk)
        return self.is_done

    def _is_harmless(self, event: bytes) -> bool:
        """Whether an event that cannot be read had no text in it: there was none to come, or it is not even a part of
        an object."""
        return self._reader.has_said_all or not _OF_OBJECTS.search(event)


def folded(data: bytes, call: Call) -> Completion:
    """The whole answer that somebody sent as a stream, although nobody asked for one.

    Raises:
        ProviderError: and its kinds, as ``StreamedAnswer.conclude``.
    """
    answer, assembly = StreamedAnswer(call, len(data)), Assembly()
    for chunk in answer.feed(data):
        assembly.add(chunk)
    answer.conclude()
    completion = assembly.completion()
    for choice in completion.choices:
        # Some end with [DONE] alone; a whole answer says why it ended.
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    return completion
