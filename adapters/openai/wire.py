"""The translator between the domain and a provider's JSON: a call's body out, completions and chunks in.

What comes in leaves in exactly OpenAI's shape, whatever the provider's habits; what cannot be brought into it raises
ProviderBadResponse.
"""

from typing import Any

import orjson

from adapters.openai import errors, toolcalls
from adapters.openai.fields import finish_reason, logprobs, text, usage
from adapters.openai.plain import PlainText
from domain.chat import Chunk, Completion, JsonObject
from domain.errors import ProviderBadResponse
from domain.ports import Call

# --- out ----------------------------------------------------------------------------------------------------------


def request_body(call: Call, *, stream: bool) -> bytes:
    """The JSON to send for ``call``, in its provider's dialect."""
    quirks = call.target.provider.quirks
    body = {**call.body, "model": call.target.sent_model, "stream": stream}
    options = body.pop("stream_options", None)
    if stream and quirks.stream_usage == "ask":
        body["stream_options"] = {**(options or {}), "include_usage": True}
    if quirks.developer_role is not None:
        body["messages"] = [_with_role(message, quirks.developer_role) for message in body["messages"]]
    for name, theirs in quirks.rename.items():
        if name in body:
            body[theirs] = body.pop(name)
    for name in quirks.drop:
        body.pop(name, None)
    return orjson.dumps(body)


def _with_role(message: JsonObject, role: str) -> JsonObject:
    return {**message, "role": role} if message["role"] == "developer" else message


# --- in -----------------------------------------------------------------------------------------------------------

#: What belongs to the answer and not to its body; an ``error`` that is null says nothing.
_ENVELOPE = frozenset({"id", "object", "created", "model", "usage", "choices", "error"})
#: OpenAI's fields beside the choices, in a choice, in a message and in a delta. Its schema of a delta has neither
#: annotations nor audio, but its API streams both.
_BESIDE = frozenset({"service_tier", "system_fingerprint", "moderation", "metadata", "obfuscation"})
_CHOICE = frozenset({"index", "message", "delta", "logprobs", "finish_reason"})
_CONTENT = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "annotations", "audio"})
#: What comes with every chunk, and is therefore no reason to pass on one that has nothing else.
_SILENT = frozenset({"choices", "service_tier", "system_fingerprint", "obfuscation"})

#: How often a stream may change what its events have in common: a time that goes on in them, a second choice.
_MAX_LESSONS = 32

#: Levels of nesting that are taken; the whole answer must still fit into what others wrap around it.
MAX_DEPTH = 100


def completion(data: bytes, call: Call) -> Completion:
    """A whole answer.

    Raises:
        ProviderError: it tells of an error, or is no chat completion.
    """
    payload = _payload(data, call)
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ProviderBadResponse(detail="an answer without choices")
    body = {
        "choices": [_whole_choice(choice, position, call) for position, choice in enumerate(choices)],
        **_beside(payload, call),
    }
    return Completion(body, usage(payload.get("usage"), extras=call.extras), _model(payload) or call.target.sent_model)


def as_chunks(whole: Completion) -> tuple[Chunk, ...]:
    """A whole answer as the stream that was asked for: a chunk for each choice, usage in the last one."""
    rest = {key: value for key, value in whole.body.items() if key != "choices"}
    bodies = [{"choices": [_as_delta(choice)], **rest} for choice in whole.choices]
    last = len(bodies) - 1
    return tuple(
        Chunk(body, _data(whole.model, body), whole.usage if number == last else None, whole.model)
        for number, body in enumerate(bodies)
    )


class ChunkReader:
    """Reads the events of one stream, and remembers what it takes to know when the answer is whole."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._choices: dict[int, _StreamedChoice] = {}
        self._usage_seen = False
        self._plain: PlainText | None = None
        self._lessons = 0

    @property
    def has_choices(self) -> bool:
        return bool(self._choices)

    @property
    def is_finished(self) -> bool:
        """Whether every choice that appeared has told why it ended."""
        return self.has_choices and all(choice.finished for choice in self._choices.values())

    @property
    def has_said_all(self) -> bool:
        """Whether every choice that was asked for has ended."""
        return self.is_finished and len(self._choices) >= (self._call.body.get("n") or 1)

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left to come but the mark of the end."""
        return self._usage_seen and self.has_said_all

    def read(self, data: bytes) -> Chunk | None:
        """The chunk that an event's data holds; None where it says nothing.

        Raises:
            ProviderError: the event tells of an error, or is no chunk.
        """
        plain = self._plain.read(data) if self._plain is not None else None
        return plain or self._read_in_full(data)

    def _read_in_full(self, data: bytes) -> Chunk | None:
        payload = _payload(data, self._call)
        choices = payload.get("choices") or []
        if not isinstance(choices, list):
            raise ProviderBadResponse(detail="a chunk whose choices are none")
        body = {
            "choices": [self._choice(choice, position) for position, choice in enumerate(choices)],
            **_beside(payload, self._call),
        }
        used = usage(payload.get("usage"), extras=self._call.extras)
        self._usage_seen = self._usage_seen or used is not None
        if not choices and used is None and body.keys() <= _SILENT:
            return None
        model = _model(payload) or self._call.target.sent_model
        chunk = Chunk(body, _data(model, body), used, model)
        self._learn(data, payload, chunk)
        return chunk

    def _learn(self, data: bytes, payload: JsonObject, chunk: Chunk) -> None:
        """Expect more like this. A stream whose events have too little in common is read in full throughout."""
        if self._lessons < _MAX_LESSONS and (plain := PlainText.like(data, payload, chunk)) is not None:
            self._lessons += 1
            self._plain = plain

    def _choice(self, raw: object, position: int) -> JsonObject:
        if not isinstance(raw, dict):
            raise ProviderBadResponse(detail="a choice that is none")
        index = _index(raw, position)
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _StreamedChoice(f"{self._call.request_id}:{index}")
        reason = finish_reason(raw.get("finish_reason"), self._call.target.provider.quirks)
        choice.finished = choice.finished or reason is not None
        return {
            "index": index,
            "delta": choice.delta(raw.get("delta") or {}, extras=self._call.extras),
            "logprobs": logprobs(raw.get("logprobs"), extras=self._call.extras),
            "finish_reason": reason,
            **_extras(raw, _CHOICE, self._call),
        }


class _StreamedChoice:
    """What one choice of a stream has said so far, as far as the next delta depends on it."""

    def __init__(self, seed: str) -> None:
        self.finished = False
        self._opened = False
        self._calls = toolcalls.CallNumbers(seed)

    def delta(self, raw: object, *, extras: bool) -> JsonObject:
        if not isinstance(raw, dict):
            raise ProviderBadResponse(detail="a delta that is none")
        # The role belongs into the first delta; clients join what is repeated.
        delta: JsonObject = {} if self._opened else {"role": "assistant"}
        self._opened = True
        for key, value in raw.items():
            if key == "content":
                delta["content"] = text(value)
            elif key == "tool_calls" and value is not None:
                delta["tool_calls"] = self._calls.deltas(value, extras=extras)
            elif key == "function_call" and value is not None:
                delta["function_call"] = toolcalls.function_call(value)
            elif key not in _NOT_COPIED and (extras or key in _CONTENT):
                delta[key] = value
        return delta


_NOT_COPIED = frozenset({"role", "tool_calls", "function_call"})


def _whole_choice(raw: object, position: int, call: Call) -> JsonObject:
    if not isinstance(raw, dict) or not isinstance(raw.get("message"), dict):
        raise ProviderBadResponse(detail="a choice without a message")
    index = _index(raw, position)
    message = _message(raw["message"], f"{call.request_id}:{index}", extras=call.extras)
    reason = finish_reason(raw.get("finish_reason"), call.target.provider.quirks)
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs(raw.get("logprobs"), extras=call.extras),
        "finish_reason": reason or ("tool_calls" if "tool_calls" in message else "stop"),
        **_extras(raw, _CHOICE, call),
    }


def _message(raw: JsonObject, seed: str, *, extras: bool) -> JsonObject:
    refusal = raw.get("refusal")
    message: JsonObject = {
        "role": "assistant",
        "content": text(raw.get("content")),
        "refusal": refusal if isinstance(refusal, str) else None,
    }
    # OpenAI leaves out calls where there are none; others send an empty list or null.
    if raw.get("tool_calls"):
        message["tool_calls"] = toolcalls.whole_calls(raw["tool_calls"], seed, extras=extras)
    if raw.get("function_call") is not None:
        message["function_call"] = toolcalls.function_call(raw["function_call"])
    for key, value in raw.items():
        if key not in message and key not in _NOT_COPIED and (extras or key in _CONTENT):
            message[key] = value
    return message


def _as_delta(choice: JsonObject) -> JsonObject:
    delta = {key: value for key, value in choice["message"].items() if value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(delta["tool_calls"])]
    rest = {key: value for key, value in choice.items() if key not in ("index", "message")}
    return {"index": choice["index"], "delta": delta, **rest}


# --- plumbing -----------------------------------------------------------------------------------------------------


def _payload(data: bytes, call: Call) -> JsonObject:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProviderBadResponse(detail="malformed JSON") from error
    if not isinstance(payload, dict):
        raise ProviderBadResponse(detail="JSON that is no object")
    if payload.get("error"):
        raise errors.failure(payload, call.target)
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _require_shallow(payload)
    return payload


def _require_shallow(payload: JsonObject) -> None:
    """Raise ProviderBadResponse where the nesting is such that orjson, which reads 1,023 levels, writes it no more."""
    wrapped: Any = payload
    for _ in range(254 - MAX_DEPTH):
        wrapped = [wrapped]
    _dumped(wrapped)


def _data(model: str | None, body: JsonObject) -> bytes:
    """A chunk as it is logged and sent: the model's name in front."""
    return _dumped({"model": model, **body})


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ProviderBadResponse(detail="JSON that is nested too deeply") from error


def _beside(payload: JsonObject, call: Call) -> JsonObject:
    return {k: v for k, v in payload.items() if k not in _ENVELOPE and (call.extras or k in _BESIDE)}


def _extras(raw: JsonObject, known: frozenset[str], call: Call) -> JsonObject:
    return {key: value for key, value in raw.items() if key not in known} if call.extras else {}


def _index(raw: JsonObject, position: int) -> int:
    index = raw.get("index")
    return index if type(index) is int and index >= 0 else position


def _model(payload: JsonObject) -> str | None:
    model = payload.get("model")
    return model if isinstance(model, str) and model else None
