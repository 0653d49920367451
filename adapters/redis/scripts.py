"""The Lua scripts: one for each verb, atomic because Redis runs nothing else meanwhile.

A line ``-- with: <names>`` puts the functions of other files before a script's own lines.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

from domain.ports import Clock

_FOLDER = Path(__file__).with_name("lua")
_WITH = re.compile(r"^-- with: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which a server that has seen it knows it."""

    name: str
    source: str
    digest: str


@cache
def script(name: str) -> Script:
    """The script ``lua/<name>.lua``, read when it is first needed."""
    # Redis wants the line with the flags, "#!lua", to be the first.
    first, _, rest = _read(name).partition("\n")
    source = "\n".join((first, *_parts(rest), rest))
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def now(clock: Clock | None) -> str:
    """The time as a script takes it; empty for the server's own, which is everybody's in service."""
    return "" if clock is None else f"{clock():.17g}"


def milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _parts(text: str) -> Iterator[str]:
    return (_read(name) for names in _WITH.findall(text) for name in names.split())


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text()
