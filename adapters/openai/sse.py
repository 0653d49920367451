"""Server-sent events out of bytes. Only CR, LF and CRLF end a line, and it does not matter where the bytes are cut.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

#: Far more than any event of a completion; a line without an end has to end somewhere.
MAX_EVENT_BYTES = 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = b"\r\n"


class EventTooLarge(Exception):
    """An event, or a line that is not even part of one, is larger than the parser may hold."""


class EventParser:
    """Collects the data of events. All other fields and comments are skipped; an event that never ends is dropped.

    A byte is copied a fixed number of times, so that single bytes cost no more than the same bytes at once.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, and return the data of each event that they complete.

        Raises:
            EventTooLarge: the parser is of no use any more.
        """
        if self._after_cr and data:
            # The CR has ended its line already, so that an event need not wait for the next read.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        events: list[bytes] = []
        if self._is_plain(data):
            self._take_blocks(data, events)
        else:
            self._take_pieces(data, events)
        return events

    def _is_plain(self, data: bytes) -> bool:
        """Whether it begins with an event and ends with one, with nothing but LF at the end of its lines."""
        return data.endswith(b"\n\n") and b"\r" not in data and not self._line and not self._data

    def _take_blocks(self, data: bytes, events: list[bytes]) -> None:
        """The fast path: the events of most reads are of one line each, and need no look at each line."""
        for block in data[:-2].split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block and len(block) < self._limit:
                self._at_start = False
                events.append(block[6:])
            else:
                self._take_pieces(block + b"\n\n", events)

    def _take_pieces(self, data: bytes, events: list[bytes]) -> None:
        self._after_cr = data.endswith(b"\r")
        for piece in data.splitlines(keepends=True):
            if piece[-1] in _LINE_ENDS:
                self._take_line(self._complete(piece.rstrip(_LINE_ENDS)), events)
            else:
                self._line += piece
            if len(self._line) + self._data_bytes > self._limit:
                raise EventTooLarge

    def _complete(self, end: bytes) -> bytes:
        line = end
        if self._line:
            line = bytes(self._line) + end
            self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        # An empty line ends an event; one without data is none.
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._data_bytes = 0
        elif line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            self._add(b"")

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
