"""Tool calls in OpenAI's shape: numbered in a stream, with ids, arguments as JSON text."""

import hashlib
from typing import Any

import orjson

from domain.chat import JsonObject
from domain.errors import ProviderBadResponse

#: What OpenAI has in a call and in what is called; all else is a provider's extra.
_CALL = frozenset({"index", "id", "type", "function", "custom"})
_CALLED = frozenset({"name", "arguments", "input"})


def whole_calls(raw: object, seed: str, *, extras: bool) -> list[JsonObject]:
    """The calls of a finished message. ``seed`` makes the ids that the provider left out.

    Raises:
        ProviderBadResponse: they are no tool calls.
    """
    return [_whole(call, call_id(seed, number), extras=extras) for number, call in enumerate(_calls(raw))]


def function_call(raw: object) -> JsonObject:
    """The deprecated ``function_call`` of a message or a delta, its arguments as text.

    Raises:
        ProviderBadResponse: it is no object.
    """
    return _called(raw, extras=True)


class CallNumbers:
    """Numbers the tool calls of one streamed choice, and says of each delta what is new in it.

    OpenAI gives every delta the index of its call, and id, type and name to the first of a call only: its clients
    join whatever is repeated. Others leave out the index, give the same one to all calls, or repeat the rest.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._opened: dict[int, tuple[str, object]] = {}
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._latest = 0

    def deltas(self, raw: object, *, extras: bool) -> list[JsonObject]:
        """Raises ProviderBadResponse where they are no tool calls."""
        return [self._delta(call, extras=extras) for call in _calls(raw)]

    def _delta(self, call: JsonObject, *, extras: bool) -> JsonObject:
        kind = _kind(call)
        called = _called(call.get(kind) or {}, extras=extras)
        name = called.get("name")
        number = self._number(call, opens=bool(name))
        delta: JsonObject = {"index": number}
        if number not in self._opened:
            given = _text(call.get("id"))
            self._opened[number] = (given or "", name)
            called.setdefault("arguments" if kind == "function" else "input", "")
            delta |= {"id": given or call_id(self._seed, number), "type": kind}
        elif name in (None, "", self._opened[number][1]):
            called.pop("name", None)
        delta[kind] = called
        return delta | {key: value for key, value in call.items() if extras and key not in _CALL}

    def _number(self, call: JsonObject, *, opens: bool) -> int:
        """The number of the call that a delta belongs to; the next free one where it opens a call."""
        given_id, given_index = _text(call.get("id")), _index(call.get("index"))
        number = self._known(given_id, given_index, opens=opens)
        if number is None:
            number = given_index if given_index is not None else len(self._opened)
            while number in self._opened:
                number += 1
        if given_id is not None:
            self._by_id[given_id] = number
        if given_index is not None:
            self._by_index[given_index] = number
        self._latest = number
        return number

    def _known(self, given_id: str | None, given_index: int | None, *, opens: bool) -> int | None:
        # In order: an id that was seen; an index that was seen, unless a new id says that another call has taken it
        # over; neither of them and no name, which goes on with the latest call.
        if given_id is not None and given_id in self._by_id:
            return self._by_id[given_id]
        if given_index is not None:
            number = self._by_index.get(given_index)
            taken_over = number is not None and given_id is not None and self._opened[number][0] not in ("", given_id)
            return None if taken_over else number
        if given_id is None and not opens and self._opened:
            return self._latest
        return None


def call_id(seed: str, number: int) -> str:
    """An id for a call that came without: the same for the same answer, and another one in every other answer."""
    return f"call_{hashlib.sha256(f'{seed}:{number}'.encode()).hexdigest()[:24]}"


def as_text(value: object) -> str:
    """Arguments as JSON text, from providers that send them as the object itself."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _whole(call: JsonObject, own_id: str, *, extras: bool) -> JsonObject:
    kind = _kind(call)
    called = _called(call.get(kind), extras=extras)
    if kind == "function":
        called.setdefault("arguments", "{}")
    kept = {key: value for key, value in call.items() if extras and key not in _CALL}
    return {"id": _text(call.get("id")) or own_id, "type": kind, kind: called, **kept}


def _calls(raw: object) -> list[JsonObject]:
    if not isinstance(raw, list) or not all(isinstance(call, dict) for call in raw):
        raise ProviderBadResponse(detail="tool calls that are none")
    return raw


def _kind(call: JsonObject) -> str:
    return "custom" if "custom" in call else "function"


def _called(raw: object, *, extras: bool) -> JsonObject:
    if not isinstance(raw, dict):
        raise ProviderBadResponse(detail="a tool call without a function")
    called: dict[str, Any] = {key: value for key, value in raw.items() if extras or key in _CALLED}
    if called.get("arguments") is not None:
        called["arguments"] = as_text(called["arguments"])
    else:
        called.pop("arguments", None)
    return called


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _index(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
