"""The log of a test: all of it, from the lowest level on, in the form that an operator would have chosen."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from loguru import logger

from adapters.journal.sinks import configure_logging

_STAMP = re.compile(r"\S+Z ")


@dataclass(frozen=True, slots=True)
class Log:
    """What was written so far."""

    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        """The lines without their times."""
        return [_STAMP.sub("", line, count=1) for line in self.text.splitlines()]

    @property
    def records(self) -> list[Any]:
        """The lines of a log in JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, message: str) -> list[Any]:
        """The records with this message, of a log in JSON."""
        return [record for record in self.records if record["message"] == message]


@contextmanager
def logged(form: Literal["text", "json"]) -> Iterator[Log]:
    """Everything that is logged within the block."""
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    configure_logging(form, "DEBUG", stream)
    try:
        yield Log(stream)
    finally:
        logger.remove()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
