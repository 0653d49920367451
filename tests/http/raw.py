"""A client that sends whatever bytes it is told to, and counts what comes back on the socket."""

import asyncio
from dataclasses import dataclass

import orjson

#: Seconds after which a connection that should have been closed is hung.
HUNG = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer off the wire; ``interim`` is how many 100s came before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: int = 0

    @property
    def code(self) -> str | None:
        """The error's code; the body has to be in one of our dialects, and agree with the header."""
        if self.status < 400:
            return None
        error = orjson.loads(self.body)["error"]
        code = self.headers["x-error-code"]
        assert isinstance(error, str) or error["code"] == code
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-request-id"]
        return code


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything that came until the end of the connection, or until nothing came any more."""

    answers: list[Answer]
    closed: bool

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


async def exchange(port: int, *parts: bytes, patience: float = HUNG) -> Heard:
    """Send the parts one after the other, and hear what comes until the other side closes, or ``patience`` is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            # A turn of the loop, so that the parts are read one by one.
            await asyncio.sleep(0)
        return await hear(reader, patience)
    finally:
        writer.transport.abort()


async def hear(reader: asyncio.StreamReader, patience: float = HUNG) -> Heard:
    received, closed = b"", False
    try:
        async with asyncio.timeout(patience):
            while data := await reader.read(65536):
                received += data
            closed = True
    except TimeoutError:
        pass
    except ConnectionResetError:
        closed = True
    return Heard(answers_in(received), closed)


def answers_in(received: bytes) -> list[Answer]:
    """The answers in these bytes, every one of which has to belong to one."""
    answers, interim = [], 0
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        version, status, *_ = line.split(" ", 2)
        assert version == "HTTP/1.1", received
        if status == "100":
            interim, received = interim + 1, rest
            continue
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body, received = _body_in(headers, rest)
        answers.append(Answer(int(status), headers, body, interim))
        interim = 0
    return answers


def _body_in(headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    """The body and what comes behind it."""
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", 0))
        return rest[:length], rest[length:]
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        data, rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        body += data
        if not data:
            break
    return body, rest
