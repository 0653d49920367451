"""Records of runs as Redis hashes: every field is there, as text, and empty where the run has none."""

from collections.abc import Mapping, Sequence

import orjson
from pydantic import TypeAdapter

from domain.chat import Completion, Usage
from domain.runs import Ending, Run, RunError, Status

_USAGE = TypeAdapter(Usage)
_ERROR = TypeAdapter(RunError)
_COMPLETION = TypeAdapter(Completion)


def record_of(run: Run) -> list[str | bytes]:
    """The hash of a run: fields and values in turn."""
    fields: Mapping[str, str | bytes] = {
        "id": run.id,
        "tenant": run.tenant,
        "group": run.group,
        "user": run.user,
        "answer_id": run.answer_id,
        "provider": run.provider,
        "model": run.model,
        "created": str(run.created),
        "extras": str(int(run.extras)),
        "include_usage": str(int(run.include_usage)),
        "conversation": run.conversation or "",
        "status": run.status.value,
        "attempt": str(run.attempt),
        "tail": str(run.tail),
        "usage": _json(run.usage),
        "charged": _number(run.charged),
        "error": _json(run.error),
    }
    return [word for field in fields.items() for word in field]


def paired(words: Sequence[bytes]) -> Mapping[bytes, bytes]:
    """A hash as scripts return it, fields and values in turn, as the client's HGETALL does."""
    return dict(zip(words[::2], words[1::2], strict=True))


def run_of(record: Mapping[bytes, bytes]) -> Run:
    """The run of a hash."""
    text = {name.decode(): value.decode() for name, value in record.items()}
    return Run(
        id=text["id"],
        tenant=text["tenant"],
        group=text["group"],
        user=text["user"],
        answer_id=text["answer_id"],
        provider=text["provider"],
        model=text["model"],
        created=int(text["created"]),
        extras=text["extras"] == "1",
        include_usage=text["include_usage"] == "1",
        conversation=text["conversation"] or None,
        status=Status(text["status"]),
        attempt=int(text["attempt"]),
        tail=int(text["tail"]),
        usage=_USAGE.validate_json(text["usage"]) if text["usage"] else None,
        charged=int(text["charged"]) if text["charged"] else None,
        error=_ERROR.validate_json(text["error"]) if text["error"] else None,
    )


def ending_words(ending: Ending | None) -> tuple[str | bytes, ...]:
    """An ending as the script takes it: status, usage, charged, error, completion."""
    if ending is None:
        return ("",) * 5
    usage, error, completion = map(_json, (ending.usage, ending.error, ending.completion))
    return ending.status.value, usage, _number(ending.charged), error, completion


def completion_of(text: bytes) -> Completion:
    return _COMPLETION.validate_json(text)


def _json(value: object) -> bytes:
    return orjson.dumps(value) if value is not None else b""


def _number(value: int | None) -> str:
    return str(value) if value is not None else ""
