"""The process that serves: what it may take of the system, and how it ends before there is anything to end."""

import resource
import signal
from contextlib import suppress
from typing import NoReturn


def open_files_up_to_the_hard_limit() -> None:
    """Let this process have as many connections as its system allows. Shells and services often give it 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the hard limit is none, a system may still have one of its own; then what was given has to do.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_on_sigterm() -> None:
    """End with status 0 when a signal comes before the server listens to them.

    Left to the system, the first process of a container would not even end: there, what nobody handles is ignored.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)
