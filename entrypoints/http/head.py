"""The head of a request, from raw bytes: what is not exactly HTTP/1.1 as RFC 9112 writes it is refused, never mended.

A proxy in front may read a doubtful head differently from us, and that difference is how requests are smuggled.
https://www.rfc-editor.org/rfc/rfc9112
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from sanic.compat import Header

from entrypoints.http.errors import HttpRefusal


class Framing(Enum):
    """How the end of a body is told; a length in bytes stands for itself."""

    CHUNKED = "chunked"


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """The largest head that is read: in bytes as a whole, of its URL and of one header, and in headers."""

    head_bytes: int = 16 * 1024
    #: What RFC 9112, section 3, recommends to support at least.
    url_bytes: int = 8_000
    header_bytes: int = 8_000
    headers: int = 100


class Head(NamedTuple):
    """A request without its body. ``body`` is its length in bytes, 0 where there is none, or how it is framed."""

    method: str
    target: bytes
    headers: Header
    body: int | Framing
    keep_alive: bool
    expects_continue: bool


def read_head(raw: bytes, bounds: HeadBounds) -> Head:
    """The head in these bytes, which end before the empty line.

    Raises:
        HttpRefusal: 400, 414, 417, 431 or 505. The connection cannot be used after that.
    """
    # The fast path of every request: a few passes in C over the whole, and Python once for each header.
    if len(raw) > bounds.head_bytes:
        raise _too_large(f"it has more than {bounds.head_bytes} bytes")
    request_line, *lines = raw.decode("latin-1").split("\r\n")
    if raw.translate(None, _TEXT) != b"\r\n" * len(lines):
        _require_text(lines, request_line)
    method, target = _read_request_line(request_line, bounds)
    _require_bounded(lines, bounds)
    parts = [line.partition(":") for line in lines]
    fields = [(_name(name), value.strip(" \t")) for name, colon, value in parts if colon]
    if len(fields) != len(lines):
        raise malformed("it has a header without a colon")
    headers = Header(fields)
    if len(headers) != len(dict(fields)):
        _refuse_repeated(headers)
    _require_host(headers)
    body = _framing(headers)
    return Head(method, target, headers, body, _keeps_alive(headers), bool(body) and _expects_continue(headers))


def require_promising(raw: bytes, bounds: HeadBounds) -> None:
    """Refuse the beginning of a head that nothing can make good any more, so that nobody waits for its end.

    Raises:
        HttpRefusal: as ``read_head``.
    """
    if len(raw) > bounds.head_bytes:
        raise _too_large(f"it has more than {bounds.head_bytes} bytes")
    request_line, *lines = raw.removesuffix(b"\r").decode("latin-1").split("\r\n")
    _require_text(lines, request_line)
    if lines or len(request_line) > bounds.url_bytes + _METHOD_AND_VERSION:
        _read_request_line(request_line, bounds)


def path_of_refused(raw: bytes) -> str:
    """The path that a head speaks of which is not good otherwise, for the dialect of its refusal; empty for none."""
    match = _PATH.match(raw)
    return match[1].decode("ascii") if match is not None else ""


#: Printable ASCII and the tab. What is left of a head without them has to be its line ends.
_TEXT = bytes([*range(0x20, 0x7F), *b"\t"])
#: Bytes of a request line beside its URL, at most.
_METHOD_AND_VERSION = 24 + len("  HTTP/1.1")
_REQUEST_LINE = re.compile(r"([A-Z]{1,24}) ([!\"$-~]+) HTTP/1\.1")
_OTHER_VERSION = re.compile(r"[A-Z]{1,24} [!-~]+ HTTP/(?!1\.1)[0-9]\.[0-9]")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_PATH = re.compile(rb"[A-Z]{1,24} (/[!-~]*)[ \r]")
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,15}")
#: Headers whose second appearance would leave open which of the two counts, here or at a proxy.
_ONCE = ("host", "content-length", "transfer-encoding", "content-type", "content-encoding", "expect", "x-tenant-id",
         "idempotency-key", "last-event-id", "origin")  # fmt: skip


def malformed(what: str) -> HttpRefusal:
    """The refusal of a request that is not HTTP; ``what`` is wrong with it."""
    return HttpRefusal(f"The request is malformed: {what}.", status=400, code="bad_request")


def _too_large(what: str) -> HttpRefusal:
    return HttpRefusal(f"The head of your request is too large: {what}.", status=431, code="headers_too_large")


def _read_request_line(line: str, bounds: HeadBounds) -> tuple[str, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad_request_line(line, bounds)
    method, target = match.groups()
    if len(target) > bounds.url_bytes:
        raise _url_too_long(bounds)
    return method, (target if target.startswith("/") else _path_of(target)).encode("ascii")


def _bad_request_line(line: str, bounds: HeadBounds) -> HttpRefusal:
    if len(line) > bounds.url_bytes + _METHOD_AND_VERSION:
        return _url_too_long(bounds)
    if _OTHER_VERSION.fullmatch(line):
        return HttpRefusal("Only HTTP/1.1 is spoken here.", status=505, code="http_version_not_supported")
    return malformed("its first line is no request line of HTTP/1.1")


def _url_too_long(bounds: HeadBounds) -> HttpRefusal:
    return HttpRefusal(
        f"The URL of your request is longer than {bounds.url_bytes} bytes.", status=414, code="url_too_long"
    )


def _path_of(target: str) -> str:
    """The path of an absolute URL, which servers must understand though only proxies are sent one (section 3.2.2)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _is_host(match[1]):
        raise malformed("its target is no path")
    return match[2] if match[2].startswith("/") else f"/{match[2]}"


def _require_text(lines: Sequence[str], request_line: str) -> None:
    """Refuse bytes that may not stand in a head. In a credential those beyond ASCII are let pass: it is told as a bad
    credential."""
    for line in (request_line, *lines):
        given = line.encode("latin-1")
        if line[:14].lower() == "authorization:":
            given = line.encode("ascii", "ignore")
        if given.translate(None, _TEXT):
            raise malformed("it has bytes that may not stand in a head")


def _require_bounded(lines: Sequence[str], bounds: HeadBounds) -> None:
    if len(lines) > bounds.headers:
        raise _too_large(f"it has more than {bounds.headers} headers")
    if max(map(len, lines), default=0) > bounds.header_bytes:
        raise _too_large(f"one of its headers is longer than {bounds.header_bytes} bytes")


@lru_cache(maxsize=256)
def _name(given: str) -> str:
    """A header's name in lower case; remembered, since clients are of few kinds. A refusal is not."""
    # A line that is folded, or has a blank before its colon, is refused here, too.
    if not _NAME.fullmatch(given):
        raise malformed("it has a header without a proper name")
    return given.lower()


def _refuse_repeated(headers: Header) -> None:
    for name in _ONCE:
        if len(headers.getall(name, ())) > 1:
            raise malformed(f"it has more than one {name.title()}")


def _require_host(headers: Header) -> None:
    host = headers.get("host")
    if host is None or not _is_host(host):
        raise malformed("it has no valid Host")


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and int(match[1] or 0) <= 65_535


def _framing(headers: Header) -> int | Framing:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or coding != "chunked":
            raise malformed("its Transfer-Encoding has to be 'chunked', and without a Content-Length")
        return Framing.CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise malformed("its Content-Length is no length")
    return int(length)


def _keeps_alive(headers: Header) -> bool:
    # Whoever asks for another protocol may go on in it, so nothing behind such a request is read as HTTP.
    if "upgrade" in headers:
        return False
    given = headers.getall("connection", None)
    if given is None or given == ["keep-alive"]:
        return True
    return "close" not in {option.strip().lower() for option in ",".join(given).split(",")}


def _expects_continue(headers: Header) -> bool:
    expect = headers.get("expect")
    if expect is None:
        return False
    if expect.lower() != "100-continue":
        raise HttpRefusal("Only 100-continue can be expected.", status=417, code="expectation_failed")
    return True
