"""The head of an answer: whatever its values are made of, it has the lines that were meant and no others."""

import pytest
from sanic import HTTPResponse

from entrypoints.http.response_head import response_head


def lines_of(headers: dict[str, str], *, status: int = 200, keep_alive: bool = True) -> list[bytes]:
    response = HTTPResponse(b"", status, headers, "application/json")
    head = response_head(response, "content-length: 2\r\n", keep_alive=keep_alive)
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_a_head_has_a_status_line_the_headers_and_how_to_go_on() -> None:
    assert lines_of({"X-Request-Id": "1"}) == [
        b"HTTP/1.1 200 OK",
        b"X-Request-Id: 1",
        b"content-type: application/json",
        b"content-length: 2",
        b"connection: keep-alive",
    ]
    assert lines_of({}, status=404, keep_alive=False)[0] == b"HTTP/1.1 404 Not Found"
    assert lines_of({}, status=404, keep_alive=False)[-1] == b"connection: close"


def test_a_status_that_has_no_name_is_sent_without_one() -> None:
    assert lines_of({}, status=599)[:2] == [b"HTTP/1.1 599 ", b"content-type: application/json"]


def test_a_media_type_that_was_given_is_not_given_again() -> None:
    assert lines_of({"Content-Type": "text/plain"})[1:3] == [b"Content-Type: text/plain", b"content-length: 2"]


@pytest.mark.parametrize(
    "value", ["1\r\nX-Injected: b", "1\nX-Injected: b", "1\rX-Injected: b", "1\0", "\r\n\r\n<html>"]
)
def test_no_value_adds_a_line(value: str) -> None:
    lines = lines_of({"Retry-After": value, "X-Other": "a"})

    assert len(lines) == 6
    assert not {byte for line in lines for byte in line} & {0, 10, 13}
    assert lines[2] == b"X-Other: a"


def test_nothing_else_is_taken_out_of_a_value() -> None:
    assert lines_of({"X-Name": "a!\r\nb!"})[1] == b"X-Name: a!b!"


def test_a_value_beyond_ascii_is_sent_as_utf_8() -> None:
    assert lines_of({"X-Name": "é"})[1] == "X-Name: é".encode()
    assert lines_of({"X-Name": "\ud800"})[1] == b"X-Name: ?"
