"""The head of an answer, as bytes. A value may come from anywhere, so none of them can end its line."""

from collections.abc import Mapping
from http import HTTPStatus

from sanic import HTTPResponse

_STATUS_LINES: Mapping[int, str] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_NOT_IN_A_VALUE = str.maketrans("", "", "\r\n\0")


def response_head(response: HTTPResponse, framing: str, *, keep_alive: bool) -> bytes:
    """The head, up to and with the empty line; ``framing`` is the header that tells where the body ends."""
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    if response.content_type is not None and "content-type" not in response.headers:
        lines.append(f"content-type: {response.content_type}\r\n")
    told = "".join(lines)
    if told.count("\r") != len(lines) or told.count("\n") != len(lines) or "\0" in told:
        told = "".join(f"{line.translate(_NOT_IN_A_VALUE)}\r\n" for line in lines)
    status = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"
    connection = "connection: keep-alive\r\n\r\n" if keep_alive else "connection: close\r\n\r\n"
    return f"{status}{told}{framing}{connection}".encode("utf-8", "replace")
