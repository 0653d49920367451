"""A stream as it is on the wire, taken apart by the letter: whatever is not exactly a frame of ours fails the test."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

DONE = "[DONE]"
#: A frame is an id and one line of data. Comments have one line, since a client takes more for an event; the first
#: frame says when to come back.
_FRAME = re.compile(
    rb"(?P<comments>(?:: [^\n]*\n)*)(?:retry: (?P<retry>[0-9]+)\n)?id: (?P<id>[^\n]+)\ndata: (?P<data>[^\n]+)\n\n"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. ``comments`` is how many stood before it; ``wire`` is all of it as it came."""

    id: str
    data: str
    comments: int
    wire: bytes

    @property
    def number(self) -> int:
        return int(self.id.rpartition("-")[2])

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream and the response that it came in."""

    response: httpx.Response
    frames: tuple[Frame, ...]

    @property
    def headers(self) -> httpx.Headers:
        return self.response.headers

    @property
    def run_id(self) -> str:
        return self.headers["x-completion-id"]

    @property
    def chunks(self) -> list[Any]:
        """What the events carry, [DONE] left out."""
        return [frame.json for frame in self.frames if frame.data != DONE]

    @property
    def is_done(self) -> bool:
        return bool(self.frames) and self.frames[-1].data == DONE

    @property
    def error(self) -> Any:
        """The error object of the last event."""
        return self.frames[-1].json["error"]

    def deltas(self, index: int = 0) -> Iterator[Any]:
        """The deltas of one choice."""
        for chunk in self.chunks:
            yield from (choice["delta"] for choice in chunk.get("choices", ()) if choice["index"] == index)

    def text(self, index: int = 0) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas(index))


def read_stream(response: httpx.Response) -> Stream:
    """The stream in a response that has been read to its end."""
    assert response.status_code == 200, response.text
    return Stream(response, read_frames(response.content))


def read_frames(wire: bytes) -> tuple[Frame, ...]:
    """The frames in these bytes, nothing before, between or behind them."""
    frames, at = [], 0
    while at < len(wire):
        match = _FRAME.match(wire, at)
        assert match is not None, f"not a frame: {wire[at : at + 200]!r}"
        frames.append(Frame(match["id"].decode(), match["data"].decode(), match["comments"].count(b"\n"), match[0]))
        at = match.end()
    return tuple(frames)
