"""An exception as it may be logged: its type and where it was. Never its message, which may quote what it met."""

import traceback
from collections.abc import Iterator
from pathlib import PurePath

#: So many exceptions of a chain, and so many frames of each, the innermost.
MAX_CHAIN = 5
MAX_FRAMES = 15


def trace(error: BaseException) -> dict[str, str]:
    """``error`` is its type, ``trace`` the frames of it and then of what caused it, the innermost last."""
    chain = [f"{_name(each)} at {_frames(each)}" for each in _chain(error)]
    return {"error": _name(error), "trace": ", from ".join(chain)}


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < MAX_CHAIN:
        each = waiting.pop(0)
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += _reasons(each)


def _reasons(error: BaseException) -> list[BaseException]:
    """What led to an exception: the members of a group, and its cause or, unless that was hidden, its context."""
    members = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return members if cause is None else [*members, cause]


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _frames(error: BaseException) -> str:
    frames = [
        f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-3:])}:{line}:{frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return " > ".join(frames[-MAX_FRAMES:]) or "no frame"
