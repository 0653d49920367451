"""Chunks into a completion, and a completion back into chunks."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from domain.chat import Chunk, Completion, JsonObject, Usage

#: Strings of a delta that are whole in each chunk, where all others are pieces of a longer one.
_WHOLE = frozenset({"role", "id", "type", "name", "object"})


class Assembly:
    """Folds a stream's chunks into the answer that the same request would have had without streaming."""

    def __init__(self) -> None:
        self._choices: dict[int, JsonObject] = {}
        self._extras: JsonObject = {}
        self.usage: Usage | None = None
        self.model: str | None = None
        self.bytes = 0

    def add(self, chunk: Chunk) -> None:
        self.bytes += len(chunk.data)
        self.usage = chunk.usage or self.usage
        self.model = chunk.model or self.model
        for key, value in chunk.body.items():
            if key != "choices" and value is not None:
                self._extras[key] = value
        for choice in chunk.body["choices"]:
            self._add_choice(choice)

    @property
    def is_empty(self) -> bool:
        """Whether nothing that a caller could use has come yet."""
        return not any(_substance(choice["message"]) for choice in self._choices.values())

    def completion(self) -> Completion:
        """The answer as far as it came; a choice that did not finish has finish_reason null."""
        choices = [_finished(self._choices[index]) for index in sorted(self._choices)]
        return Completion({"choices": choices, **self._extras}, self.usage, self.model)

    def _add_choice(self, part: JsonObject) -> None:
        index = part["index"]
        choice = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
        for key, value in part.items():
            if key == "delta":
                _merge(choice["message"], value)
            elif key == "logprobs" and isinstance(value, dict):
                _merge(choice.setdefault("logprobs", {}), value)
            elif key != "index" and value is not None:
                choice[key] = value


def as_chunks(completion: Completion) -> tuple[bytes, ...]:
    """The log entries of an answer that did not come as a stream: for each choice its delta, then its finish."""
    extras = {key: value for key, value in completion.body.items() if key != "choices"}
    named = {"model": completion.model} if completion.model is not None else {}
    entries: list[bytes] = []
    for choice in completion.choices:
        delta = {key: value for key, value in choice["message"].items() if value is not None}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(delta["tool_calls"])]
        said = {"index": choice["index"], "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
        rest = {key: value for key, value in choice.items() if key not in ("message", "logprobs")}
        over = {**rest, "delta": {}, "logprobs": None}
        entries += [_entry({**named, "choices": [item], **extras}) for item in (said, over)]
    return tuple(entries)


def chunk_of(entry: bytes) -> Chunk:
    """The chunk of a log entry, for who was not there when it came."""
    body: JsonObject = json.loads(entry)
    model = body.pop("model", None)
    return Chunk(body, entry, model=model)


def speaks(chunk: Chunk) -> bool:
    """Whether a chunk says something that a caller can use, or why there is nothing."""
    for choice in chunk.body["choices"]:
        if choice["finish_reason"] is not None or choice["delta"].get("content") or _substance(choice["delta"]):
            return True
    return False


def indexes(chunk: Chunk) -> Iterator[int]:
    """The choices that a chunk is about."""
    return (choice["index"] for choice in chunk.body["choices"])


def without_role(chunk: Chunk, opened: Container[int] | None = None) -> Chunk:
    """The chunk as it goes on with choices that have been ``opened``, by default all: clients join what is repeated."""
    choices = [
        _without_role(choice) if opened is None or choice["index"] in opened else choice
        for choice in chunk.body["choices"]
    ]
    return rewritten(chunk, {**chunk.body, "choices": choices}) if choices != chunk.body["choices"] else chunk


def _without_role(choice: JsonObject) -> JsonObject:
    return {**choice, "delta": {key: value for key, value in choice["delta"].items() if key != "role"}}


def rewritten(chunk: Chunk, body: JsonObject) -> Chunk:
    """The chunk with another body."""
    return replace(chunk, body=body, data=_entry({"model": chunk.model, **body}))


def is_cacheable(completion: Completion) -> bool:
    """Whether an answer may be given again: a whole one that says something, and asks for nothing."""
    return all(
        choice["finish_reason"] == "stop" and not choice["message"].get("tool_calls") for choice in completion.choices
    )


def _entry(body: JsonObject) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _finished(choice: JsonObject) -> JsonObject:
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
    rest = {key: value for key, value in choice.items() if key not in ("index", "message", "finish_reason")}
    return {
        "index": choice["index"],
        "message": message,
        "logprobs": rest.pop("logprobs", None),
        "finish_reason": choice["finish_reason"],
        **rest,
    }


def _merge(into: JsonObject, part: Mapping[str, Any]) -> None:
    """Join a delta to what came before: strings are pieces, indexed lists are merged by index, others appended."""
    for key, value in part.items():
        before = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif isinstance(value, dict):
            if not isinstance(before, dict):
                before = into[key] = {}
            _merge(before, value)
        elif isinstance(value, list):
            into[key] = _merged_list(before if isinstance(before, list) else [], value)
        elif isinstance(value, str) and isinstance(before, str) and key not in _WHOLE:
            into[key] = before + value
        else:
            into[key] = value


def _merged_list(before: list[Any], parts: Iterable[Any]) -> list[Any]:
    merged = before
    for part in parts:
        if not isinstance(part, dict) or "index" not in part:
            merged.append(part)
            continue
        known = next((item for item in merged if isinstance(item, dict) and item.get("index") == part["index"]), None)
        if known is None:
            known = {}
            merged.append(known)
        _merge(known, part)
    return merged


def _substance(message: Mapping[str, Any]) -> bool:
    return any(value not in (None, "", [], {}) for key, value in message.items() if key != "role")
