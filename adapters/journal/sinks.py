"""Where log lines go. Setting it up is the only way of this program to write to its log."""

import logging
import os
import select
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from loguru import logger

from adapters.journal.forms import FORMS, Form
from adapters.journal.lines import Fields, Line
from adapters.journal.repeats import Entry, Repeats
from adapters.journal.traces import trace

if TYPE_CHECKING:
    from loguru import Message, Record

#: What is said of lines that nobody read.
LOST = "Log lines were lost"


def configure_logging(form: Literal["text", "json"], level: str, stream: TextIO) -> None:
    """Send everything that is logged from ``level`` on to ``stream``, in the one form, and nothing anywhere else.

    The standard library's loggers are led here from WARNING on. Call it after the libraries that set up logging.
    """
    global _destination  # noqa: PLW0603 - a process has one log
    logger.remove()
    sink = Sink(FORMS[form], stream)
    _destination = (sink, frozenset(each for each in _LEVELS if logger.level(each).no >= logger.level(level).no))
    # The sink makes the line; a format would be work for nothing, and puts an exception's values into it.
    logger.add(
        sink.write,
        level=level,
        format=_nothing,
        colorize=False,
        serialize=False,
        backtrace=False,
        diagnose=False,
        enqueue=False,
        catch=True,
    )
    _lead_here()


#: Where lines go, and of which levels.
_destination: "tuple[Sink, frozenset[str]] | None" = None


def tell(line: Line) -> None:
    """Write one of our own lines.

    Most go to the sink at once: loguru looks for who is calling, in which process and thread, which no line of ours
    says, and that is more work than the line. What may be one of many has to be looked at in turn, behind its lock.
    """
    if _destination is None or _destination[0].may_repeat(line.fields):
        logger.bind(told=line.told, **line.fields).log(line.level, line.message)
        return
    sink, levels = _destination
    if line.level in levels:
        sink.take(datetime.now(UTC), line.level, line.message, line.told, dict(line.fields))


class Sink:
    """Writes lines while somebody reads them, and of errors that repeat themselves the first.

    It never waits and never raises: lines that find no room are counted.
    """

    def __init__(self, form: Form, stream: TextIO) -> None:
        self._form = form
        self._put = _writer(stream)
        self._lost = 0
        self._repeats = Repeats()

    def write(self, message: "Message") -> None:
        """Take a line from loguru."""
        record = message.record
        extra = dict(record["extra"])
        told = extra.pop("told", {})
        if record["exception"] is not None and record["exception"].value is not None:
            extra |= trace(record["exception"].value)
        self.take(record["time"], record["level"].name, record["message"], told, extra)

    def may_repeat(self, fields: Fields) -> bool:
        return self._repeats.concern(fields)

    def take(self, time: datetime, level: str, said: str, told: Fields, extra: Fields) -> None:
        if self._lost and self._try(time, "WARNING", LOST, {}, {"lost": self._lost}):
            self._lost = 0
        if not self._repeats.concern(extra):
            self._write(time, level, said, told, extra)
            return
        for entry in self._repeats.passed(Entry(time.timestamp(), level, said, extra, told)):
            self._write(time, entry.level, entry.message, entry.told, entry.fields)

    def _write(self, time: datetime, level: str, message: str, told: Fields, fields: Fields) -> None:
        if not self._try(time, level, message, told, fields):
            self._lost += 1

    def _try(self, time: datetime, level: str, message: str, told: Fields, fields: Fields) -> bool:
        try:
            return self._put(self._form(time, level, message, told, fields))
        except (OSError, ValueError):
            # Nobody reads any more, the disk is full, the stream is closed.
            return False


class _Led(logging.Handler):
    """Takes the records of the standard library's loggers over."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= trace(record.exc_info[1])
        level = record.levelname if record.levelname in _LEVELS else record.levelno
        logger.bind(**fields).log(level, _message(record))


_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


def _lead_here() -> None:
    logging.root.handlers = [_Led(logging.WARNING)]
    logging.root.setLevel(logging.WARNING)
    for other in logging.root.manager.loggerDict.values():
        if isinstance(other, logging.Logger):
            other.handlers.clear()
            other.propagate = True


def _message(record: logging.LogRecord) -> str:
    """The first line of what a library says, with the numbers in it, but without texts: those may be anybody's.

    asyncio puts an exception's message into the lines below, a web server a URL into a place.
    """
    said = record.msg if isinstance(record.msg, str) else type(record.msg).__qualname__
    if isinstance(record.args, tuple) and record.args:
        with suppress(TypeError, ValueError):
            said %= tuple(value if isinstance(value, int | float) else "…" for value in record.args)
    return said.partition("\n")[0]


def _writer(stream: TextIO) -> Callable[[bytes], bool]:
    """How to write a line to ``stream``: False where it would have to wait."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        # Not a file: a stream in memory.
        return lambda line: stream.write(line.decode()) > 0
    stream.flush()
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def write(line: bytes) -> bool:
        # Ready means room for a whole line, since that is no longer than PIPE_BUF. The number of a closed stream's
        # descriptor may be somebody's socket by now.
        return not stream.closed and bool(poll.poll(0)) and os.write(descriptor, line) == len(line)

    return write


def _nothing(_: "Record") -> str:
    return ""
