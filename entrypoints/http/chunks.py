"""A chunked body, decoded as it comes in: RFC 9112, section 7.1, without extensions and trailers, and nothing else.

Pure. What a lenient decoder forgives is what makes two readers disagree about where a body ends.
"""

import re
from collections.abc import Callable

from entrypoints.http.errors import HttpRefusal
from entrypoints.http.head import malformed

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
#: Eight digits and the line's end.
_LONGEST_SIZE_LINE = 10
#: Each chunk costs time, however small: so many are free, and one more for each of so many bytes.
_FREE_CHUNKS = 1_000
_BYTES_PER_CHUNK = 64


class Chunks:
    """Takes chunks out of a connection's buffer. ``body`` is what they held so far, never more than ``cap`` bytes."""

    def __init__(self, cap: int) -> None:
        self.body = bytearray()
        self._cap = cap
        self._chunks = 0
        self._left = 0
        self._step: Callable[[bytearray], bool] | None = self._take_size

    def take(self, buffer: bytearray) -> bool:
        """Move what has come of the body out of ``buffer``; whether that was the last of it.

        Raises:
            HttpRefusal: 400, it is not chunked as it has to be; 413, it is larger than ``cap``.
        """
        while self._step is not None:
            if not self._step(buffer):
                return False
        return True

    # A step is False while it needs more bytes than there are; else it has set the next one.

    def _take_size(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n", 0, _LONGEST_SIZE_LINE)
        if end < 0:
            if len(buffer) >= _LONGEST_SIZE_LINE or not _may_begin_a_size(buffer):
                raise malformed("a chunk of its body does not begin with a size")
            return False
        if not _SIZE.fullmatch(buffer, 0, end):
            raise malformed("a chunk of its body does not begin with a size")
        self._left = int(bytes(buffer[:end]), 16)
        if len(self.body) + self._left > self._cap:
            raise too_large(self._cap)
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS + len(self.body) // _BYTES_PER_CHUNK:
            raise malformed("its body comes in too many chunks")
        del buffer[: end + 2]
        self._step = self._take_data if self._left else self._take_last_line
        return True

    def _take_data(self, buffer: bytearray) -> bool:
        data = buffer[: self._left]
        del buffer[: self._left]
        self.body += data
        self._left -= len(data)
        if self._left:
            return False
        self._step = self._take_line_end
        return True

    def _take_line_end(self, buffer: bytearray) -> bool:
        if not _takes_line_end(buffer, "a chunk of its body is longer than it says"):
            return False
        self._step = self._take_size
        return True

    def _take_last_line(self, buffer: bytearray) -> bool:
        if not _takes_line_end(buffer, "its body has trailers"):
            return False
        self._step = None
        return True


def too_large(cap: int) -> HttpRefusal:
    """The refusal of a body of more than ``cap`` bytes."""
    return HttpRefusal(f"The body of your request is larger than {cap} bytes.", status=413, code="payload_too_large")


def _takes_line_end(buffer: bytearray, flaw: str) -> bool:
    if not b"\r\n".startswith(buffer[:2]):
        raise malformed(flaw)
    if len(buffer) < 2:
        return False
    del buffer[:2]
    return True


def _may_begin_a_size(buffer: bytearray) -> bool:
    digits = buffer.removesuffix(b"\r")
    return not digits or _SIZE.fullmatch(digits) is not None
