"""The two forms of a log line, text and JSON. Pure; a line is one line, printable, and no longer than a pipe takes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

import orjson

from adapters.journal.lines import Fields

#: In bytes, the newline included: PIPE_BUF of Linux, so that lines of several processes never mix in one pipe.
MAX_LINE = 4096
#: A line that is too long, or not printable as it is, is made again with so many characters for each value.
_ROOMS = (1024, 256, 64)
#: Nothing else is shown but by its type: what an object tells of itself may be anything.
_SHOWN = frozenset({str, int, float, bool, type(None)})

#: The time, the level, the message, the fields that this tells already, and the others.
Form: TypeAlias = Callable[[datetime, str, str, Fields, Fields], bytes]


def text(time: datetime, level: str, message: str, told: Fields, fields: Fields) -> bytes:
    """``<time> [<level>] <message> <key>=<value> ...``; what the message tells is not repeated."""
    head = f"{_stamp(time)} [{level}] "
    line = f"{head}{message}{_pairs(fields)}"
    if line.isprintable() and len(line.encode()) < MAX_LINE:
        return f"{line}\n".encode()
    for room in _ROOMS:
        line = f"{head}{_printable(message, room)}{_pairs(_within(fields, room))}"
        if len(line.encode()) < MAX_LINE:
            return f"{line}\n".encode()
    return f"{head}{_printable(message, _ROOMS[-1])}\n".encode()


def json(time: datetime, level: str, message: str, told: Fields, fields: Fields) -> bytes:
    """One object with ``time``, ``level``, ``message`` and the fields, null where there is nothing to say."""
    head = {"time": _stamp(time), "level": level, "message": message}
    everything = {**head, **told, **fields, **head}
    if all(type(value) in _SHOWN for value in everything.values()):
        line = _dumped(everything)
        if line is not None and len(line) < MAX_LINE and line.decode().isprintable():
            return line + b"\n"
    for room in _ROOMS:
        line = _dumped(_within(everything, room))
        if line is not None and len(line) < MAX_LINE:
            return line + b"\n"
    return orjson.dumps(_within(head, _ROOMS[-1])) + b"\n"


FORMS: Mapping[str, Form] = {"text": text, "json": json}


def _stamp(time: datetime) -> str:
    return f"{time.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _dumped(value: Fields) -> bytes | None:
    try:
        return orjson.dumps(value)
    except TypeError:
        # A lone surrogate, an integer of more than 64 bits.
        return None


def _pairs(fields: Fields) -> str:
    return "".join([f" {key}={_quoted(value)}" for key, value in fields.items() if value is not None])


def _quoted(value: object) -> str:
    if type(value) is not str:
        return str(value) if type(value) in _SHOWN else type(value).__qualname__
    if value and " " not in value and '"' not in value and "=" not in value:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _within(fields: Fields, room: int) -> dict[str, object]:
    """The same fields, each value a number or a printable text of bounded length."""
    return {_printable(key, room): _bounded(value, room) for key, value in fields.items()}


def _bounded(value: object, room: int) -> object:
    if value is None or (isinstance(value, int | float) and abs(value) < 1 << 63):
        return value
    return _printable(value if isinstance(value, str) else type(value).__qualname__, room)


def _printable(value: str, room: int) -> str:
    """``value`` with everything escaped that could end the line, move the cursor or break the encoding."""
    cut = value if len(value) <= room else f"{value[:room]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
