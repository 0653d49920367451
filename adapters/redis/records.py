"""Runs as they are kept in Redis: the record as a hash of texts, without what the run has not; the rest as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

import orjson
from pydantic import TypeAdapter

from domain.chat import ChatRequest, Completion
from domain.runs import Answered, Claim, Ending, Run, Work
from domain.tokens import TokenPolicy

_RUN = TypeAdapter(Run)
_COMPLETION = TypeAdapter(Completion)
#: What an ending brings: the first two are JSON, and each is empty where there is none.
_JSON = ("usage", "error")
_OPTIONAL = (*_JSON, "charged")


def record_of(run: Run) -> list[str | bytes]:
    """The hash of a run: fields and values in turn."""
    values = ((field.name, getattr(run, field.name)) for field in fields(run))
    return [word for name, value in values if value is not None for word in (name, _text(value))]


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
    # The messages are in the body, too, and can be large.
    request = {field.name: getattr(work.request, field.name) for field in fields(work.request)}
    del request["messages"]
    return orjson.dumps({field.name: getattr(work, field.name) for field in fields(work)} | {"request": request})


def work_of(text: bytes) -> Work:
    kept = orjson.loads(text)
    request = ChatRequest(kept["request"]["body"]["messages"], **kept["request"])
    return Work(**kept | {"request": request, "policy": TokenPolicy(kept["policy"])})


def ending_words(ending: Ending | None) -> tuple[str | bytes, ...]:
    """An ending as the script takes it: status, usage, charged, error, completion; empty where there is none."""
    if ending is None:
        return ("",) * 5
    values = (ending.status, ending.usage, ending.charged, ending.error, ending.completion)
    return tuple("" if value is None else _text(value) for value in values)


def answered_words(by: Answered | None) -> tuple[str | int, ...]:
    """Who answers, as the script takes it: provider, model, how often was asked; empty where nothing is new."""
    return ("",) * 3 if by is None else (by.provider, by.model, by.asked)


def completion_of(text: bytes) -> Completion:
    return _COMPLETION.validate_json(text)


def _text(value: object) -> str | bytes:
    match value:
        case Enum():
            return str(value.value)
        case bool():
            return str(int(value))
        case str() | int() | float():
            return str(value)
    return orjson.dumps(value)
