"""Runs as they are kept in Redis: the record as a hash of texts, without what the run has not; the rest as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

import orjson
from pydantic import TypeAdapter

from adapters.redis.pipe import Word
from domain.chat import ChatRequest, Completion
from domain.runs import Answered, Claim, Ending, Run, Work
from domain.tokens import TokenPolicy

_RUN = TypeAdapter(Run)
_COMPLETION = TypeAdapter(Completion)
#: What an ending brings: the first two are JSON, and each is empty where there is none.
_JSON = ("usage", "error")
_OPTIONAL = (*_JSON, "charged")
#: What scripts read of a record, and so is always there.
_READ = frozenset({"status", "attempt", "fence", "tail"})
#: What each field of a record is where it is not there.
_USUAL = {field.name: MISSING if field.name in _READ else field.default for field in fields(Run)}
_WORK = tuple(field.name for field in fields(Work))
#: The messages are in the body, too.
_REQUEST = tuple(field.name for field in fields(ChatRequest) if field.name != "messages")


def record_of(run: Run) -> list[Word]:
    """The hash of a run: fields and values in turn. What stands as it does unless it is set is left out."""
    words: list[Word] = []
    for name, usual in _USUAL.items():
        value = getattr(run, name)
        if value is not None and value != usual:
            words += (name, _word(value))
    return words


def paired(words: Sequence[bytes]) -> Mapping[bytes, bytes]:
    """A hash of fields and values, which come in turn."""
    return dict(zip(words[::2], words[1::2], strict=True))


def run_of(record: Mapping[bytes, bytes]) -> Run:
    """The run of a hash. What an older replica did not write is as if nobody had set it."""
    values: dict[str, Any] = {name.decode(): value.decode() for name, value in record.items()}
    for name in _OPTIONAL:
        if not values.get(name):
            values[name] = None
        elif name in _JSON:
            values[name] = orjson.loads(values[name])
    return _RUN.validate_python(values)


def claim_of(answer: tuple[Sequence[bytes], bytes | None] | None) -> Claim | None:
    """A claim as scripts return it: record and work."""
    if answer is None:
        return None
    record, work = answer
    return Claim(run_of(paired(record)), work_of(work) if work else None)


def work_text(work: Work) -> bytes:
    request = {name: getattr(work.request, name) for name in _REQUEST}
    return orjson.dumps({name: getattr(work, name) for name in _WORK} | {"request": request})


def work_of(text: bytes) -> Work:
    """Work as it was kept. What a newer replica wrote of it that is not known here is left out."""
    kept = orjson.loads(text)
    asked, known = kept["request"], {name: kept[name] for name in _WORK if name in kept}
    request = ChatRequest(asked["body"]["messages"], **{name: asked[name] for name in _REQUEST if name in asked})
    return Work(**known | {"request": request, "policy": TokenPolicy(kept["policy"])})


def ending_words(ending: Ending | None) -> tuple[Word, ...]:
    """An ending as the script takes it: status, usage, charged, error, completion; empty where there is none."""
    if ending is None:
        return ("",) * 5
    values = (ending.status, ending.usage, ending.charged, ending.error, ending.completion)
    return tuple("" if value is None else _word(value) for value in values)


def answered_words(by: Answered | None) -> tuple[str | int, ...]:
    """Who answers, as the script takes it: provider, model, how often was asked; empty where nothing is new."""
    return ("",) * 3 if by is None else (by.provider, by.model, by.asked)


def completion_of(text: bytes) -> Completion:
    return _COMPLETION.validate_json(text)


def _word(value: object) -> Word:
    # The types that there are most of come first.
    if type(value) is str or type(value) is int:
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, float) else orjson.dumps(value)
