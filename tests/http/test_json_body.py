"""The JSON in a body as a pure function: what one parser reads and another does not, gets no further than here."""

import json
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest
from entrypoints.http.json_body import MAX_DEPTH, MAX_NODES, read_json
from tests.http.bad_bodies import nested

NOT_JSON = ("invalid_json", "We could not parse the JSON body of your request.")
NO_OBJECT = ("invalid_json", "The body of your request must be a JSON object.")
TOO_DEEP = ("json_too_deep", "The JSON body nests deeper than 64 levels.")
TOO_MANY = ("json_too_large", "The JSON body has more than 50000 values.")
TOO_GREAT = ("invalid_json", "The JSON body has a number beyond 64 bits.")
NULL_KEY = ("invalid_json", "The JSON body has a key with a null character.")


def refusal(raw: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read_json(raw)
    return caught.value.code, caught.value.message


#: What is refused, by the row of the table it proves.
REFUSED: dict[str, tuple[bytes, tuple[str, str]]] = {
    "J1 65 levels": (nested(65), TOO_DEEP),
    "J1 65 levels of objects": (b'{"a":' * 65 + b"1" + b"}" * 65, TOO_DEEP),
    "J1 254 levels": (nested(254), TOO_DEEP),
    "J1 1,000 levels": (nested(1_000), TOO_DEEP),
    "J1 1,100 levels": (nested(1_100), NOT_JSON),
    "J1 100,000 levels": (nested(100_000), TOO_MANY),
    "J1 ten megabytes of brackets": (b"[" * 10_000_000, TOO_MANY),
    **{f"J2 {name}": (b'{"a": %b}' % name.encode(), NOT_JSON) for name in ("NaN", "Infinity", "1e999", "-Infinity")},
    "J3 5,000 digits": (b'{"a": %b}' % (b"9" * 5_000), NOT_JSON),
    "J3 2^64": (b'{"a": 18446744073709551616}', TOO_GREAT),
    "J3 -2^63 - 1": (b'{"a": [{"b": -9223372036854775809}]}', TOO_GREAT),
    "J3 2^63 as a float": (b'{"a": 9223372036854775808.0}', TOO_GREAT),
    "J3 -2^63 as a float": (b'{"a": -9223372036854775808.0}', TOO_GREAT),
    "J4 a lone surrogate": (rb'{"a": "\ud800"}', NOT_JSON),
    "J4 a null character in a key": (rb'{"a\u0000b": 1}', NULL_KEY),
    "J4 a null character in a key below": (rb'{"a": [{"\u0000": 1}]}', NULL_KEY),
    "J7 an array": (b"[{}]", NO_OBJECT),
    "R9 a megabyte of arrays": (b'{"a":[' + b"[]," * 350_000 + b"[]]}", TOO_MANY),
    "R9 a megabyte of objects": (b'{"a":[' + b"{}," * 350_000 + b"{}]}", TOO_MANY),
    "R9 a megabyte of texts": (b'{"a":[' + b'"",' * 350_000 + b'""]}', TOO_MANY),
    "R9 a megabyte of numbers": (b'{"a":[' + b"1," * 500_000 + b"1]}", TOO_MANY),
    "one value too many": (b'{"a":[' + b"1," * (MAX_NODES - 2) + b"1]}", TOO_MANY),
    "one level of values too many": (json.dumps({"a": [[1] * 24_999, [1] * 24_998]}).encode(), TOO_MANY),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_not_everybody_reads_alike_is_refused(row: str) -> None:
    raw, told_as = REFUSED[row]

    assert refusal(raw) == told_as


@pytest.mark.parametrize(
    "value",
    [
        2**64 - 1, -(2**63), 2**53 + 1, 9.2e18, -9.2e18, 1.5, True, None, "\0", "é\u2028👩", [[[]]], {"a": {"b": []}},
        [1] * (MAX_NODES - 2), 'a "quoted", {text}, and a \\ behind it, ' * 50_000, "\\", '\\"',
        '"', ["\\", ",[{" * 40_000],
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_taken_is_what_was_written(value: Any) -> None:
    assert read_json(orjson.dumps({"a": value})) == {"a": value}


def test_the_deepest_body_is_taken_and_can_be_written_again() -> None:
    deepest = read_json(nested(MAX_DEPTH))

    assert read_json(orjson.dumps(deepest)) == deepest


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text().filter(lambda key: "\0" not in key), below),
)


@given(st.dictionaries(st.text().filter(lambda key: "\0" not in key), _JSON, max_size=5))
def test_whatever_was_written_is_read_the_same(body: dict[str, Any]) -> None:
    try:
        raw = orjson.dumps(body)
    except TypeError:
        # A lone surrogate.
        return

    assert read_json(raw) == body


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ue0123456789.-tfn', max_size=60).map(str.encode))
def test_whatever_comes_is_an_object_or_refused(raw: bytes) -> None:
    try:
        body = read_json(raw)
    except InvalidRequest:
        return

    assert read_json(orjson.dumps(body)) == body


def test_the_recursion_limit_is_no_bound_of_ours() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(200)
        assert refusal(nested(1_000)) == TOO_DEEP
    finally:
        sys.setrecursionlimit(limit)
