"""The JSON in a body, decided on once: what is read here is what is checked, counted, priced and sent on.

Parsers differ over depth, great numbers and odd characters, and what one takes breaks another. orjson reads 1,023
levels and writes 253, and makes floats of integers beyond 64 bits. So none of that gets past this file.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

from domain.chat import JsonObject
from domain.errors import InvalidRequest

#: How deep a body may nest and how many values it may have. Nobody's prompt comes near; the next parser might break.
MAX_DEPTH = 64
MAX_NODES = 50_000
#: From here on, a float may stand for an integer that was another one.
_BEYOND_64_BITS = 2.0**63

_Container: TypeAlias = JsonObject | list[Any]


def read_json(raw: bytes) -> JsonObject:
    """The JSON object in a body. Of a key that comes twice the last counts, here and wherever the object goes.

    Raises:
        InvalidRequest: not UTF-8, no JSON, no object, nested or filled beyond reason, or with a number or a key that
            not everybody reads alike.
    """
    _require_few_values(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("We could not parse the JSON body of your request.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body of your request must be a JSON object.", code="invalid_json")
    _require_sound(value)
    return value


def _require_few_values(raw: bytes) -> None:
    """Refuse a body that is made of too many values before they are made: a megabyte of ``[],`` takes a parser 130 ms.

    What could be too much is looked at without its texts, which may have all the commas and brackets they like.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") <= MAX_NODES:
        return
    texts = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A member has four quotes at most: around its key, and around its value.
    if texts.count(b'"') > 4 * MAX_NODES:
        raise _too_many()
    structure = b"".join(texts.split(b'"')[::2])
    if max(structure.count(b","), structure.count(b"[") + structure.count(b"{")) > MAX_NODES:
        raise _too_many()


def _require_sound(body: JsonObject) -> None:
    """Walk the body level by level: how deep it is, how many values it has, and whether everybody reads them alike."""
    level: list[_Container] = [body]
    nodes = 1
    for _ in range(MAX_DEPTH):
        nodes += sum(map(len, level))
        if nodes > MAX_NODES:
            raise _too_many()
        level = [below for container in level for below in _containers_in(container)]
        if not level:
            return
    raise InvalidRequest(f"The JSON body nests deeper than {MAX_DEPTH} levels.", code="json_too_deep")


def _containers_in(container: _Container) -> list[_Container]:
    """What of a container's values are containers; its keys and its other values are looked at here."""
    values: Iterable[Any] = container
    if type(container) is dict:
        values = container.values()
        if "\0" in "".join(container):
            raise InvalidRequest("The JSON body has a key with a null character.", code="invalid_json")
    found = []
    for value in values:
        kind = type(value)
        if kind is dict or kind is list:
            found.append(value)
        elif kind is float and not -_BEYOND_64_BITS < value < _BEYOND_64_BITS:
            raise InvalidRequest("The JSON body has a number beyond 64 bits.", code="invalid_json")
    return found


def _too_many() -> InvalidRequest:
    return InvalidRequest(f"The JSON body has more than {MAX_NODES} values.", code="json_too_large")
