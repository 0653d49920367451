"""From the JSON of a body to a ``ChatRequest``: the schema, then meaning; each error in OpenAI's words."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain import validation
from domain.chat import ChatRequest, JsonObject
from domain.errors import InvalidRequest
from entrypoints.http.schema import GATEWAY_FIELDS, ChatCompletionRequest, GatewayRequest, unknown_fields


@dataclass(frozen=True, slots=True)
class Fields:
    """What a surface takes: whether it has the gateway's own fields, which fields it insists on."""

    gateway: bool
    required: tuple[str, ...] = ()


def parse(body: JsonObject, fields: Fields) -> ChatRequest:
    """The request in a JSON object.

    Raises:
        InvalidRequest: it breaks the schema or a rule; ``param`` names the field.
    """
    for name in fields.required:
        if body.get(name) is None:
            raise _missing(name)
    try:
        shape = (GatewayRequest if fields.gateway else ChatCompletionRequest).model_validate(body)
    except ValidationError as error:
        raise _first_error(error, body) from None
    if not fields.gateway:
        _refuse_unknown(shape)
    request = _request(shape, body)
    validation.check(request)
    return request


def _request(shape: ChatCompletionRequest, body: JsonObject) -> ChatRequest:
    own: dict[str, Any] = {}
    travels = body
    if isinstance(shape, GatewayRequest):
        own = {"group": shape.group_id, "provider": shape.provider, "cache_key": shape.cache_key,
               "conversation": shape.conversation_id}  # fmt: skip
        travels = {key: value for key, value in body.items() if key not in GATEWAY_FIELDS}
    return ChatRequest(
        messages=body["messages"],
        body=travels,
        model=shape.model,
        stream=bool(shape.stream),
        include_usage=bool(shape.stream_options and shape.stream_options.include_usage),
        choices=shape.n or 1,
        completion_bound=shape.max_completion_tokens or shape.max_tokens,
        **own,
    )


def _refuse_unknown(shape: ChatCompletionRequest) -> None:
    path = next(unknown_fields(shape), None)
    if path is not None:
        raise InvalidRequest(f"Unknown parameter: '{_shown(path)}'.", param=_shown(path), code="unknown_parameter")


# --- one pydantic error in OpenAI's words -------------------------------------------------------------------------

#: pydantic's words for what it expected: OpenAI's words.
_EXPECTED = {
    "string_type": "a string", "int_type": "an integer", "int_from_float": "an integer", "float_type": "a number",
    "bool_type": "a boolean", "dict_type": "an object", "list_type": "an array", "model_type": "an object",
    "model_attributes_type": "an object", "finite_number": "a finite number",
}  # fmt: skip
_TYPE_NAMES = {str: "a string", int: "an integer", float: "a decimal", bool: "a boolean", dict: "an object",
               list: "an array", type(None): "null"}  # fmt: skip
#: pydantic's error: OpenAI's code and sentence; the braces are of pydantic's ``ctx``.
_BOUNDS = {
    "greater_than_equal": (
        "below_min_value",
        "below minimum value. Expected a value >= {ge}, but got {value} instead.",
    ),
    "less_than_equal": ("above_max_value", "above maximum value. Expected a value <= {le}, but got {value} instead."),
    "less_than": ("above_max_value", "above maximum value. Expected a value < {lt}, but got {value} instead."),
}
_LENGTHS = {
    "string_too_long": (
        "string_above_max_length",
        "string too long. Expected a string with maximum length {max_length}, "
        "but got a string with length {actual_length} instead.",
    ),
    "string_too_short": (
        "empty_string",
        "empty string. Expected a string with minimum length {min_length}, but got an empty string instead.",
    ),
    "too_long": (
        "array_above_max_length",
        "array too long. Expected an array with maximum length {max_length}, "
        "but got an array with length {actual_length} instead.",
    ),
    "too_short": (
        "empty_array",
        "empty array. Expected an array with minimum length {min_length}, but got an empty array instead.",
    ),
    "string_pattern_mismatch": (
        "invalid_value",
        "string does not match pattern. Expected a string that matches the pattern '{pattern}'.",
    ),
}
_TOO_MANY_PROPERTIES = (
    "object_above_max_properties",
    "too many properties. Expected an object with at most {max_length} properties, "
    "but got an object with {actual_length} properties instead.",
)


def _first_error(error: ValidationError, body: JsonObject) -> InvalidRequest:
    detail = error.errors(include_url=False)[0]
    param = _path(detail, body)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return _missing(param)
    if kind in _EXPECTED:
        got = _TYPE_NAMES.get(type(detail["input"]), "something else")
        return InvalidRequest(
            f"Invalid type for '{param}': expected {_EXPECTED[kind]}, but got {got} instead.",
            param=param,
            code="invalid_type",
        )
    if kind in _BOUNDS:
        suffix, sentence = _BOUNDS[kind]
        number = "decimal" if isinstance(detail["input"], float) else "integer"
        told = sentence.format(**context, value=detail["input"])
        return InvalidRequest(f"Invalid '{param}': {number} {told}", param=param, code=f"{number}_{suffix}")
    if kind in _LENGTHS:
        code, sentence = _TOO_MANY_PROPERTIES if isinstance(detail["input"], dict) else _LENGTHS[kind]
        told = sentence.format(**{**context, "actual_length": len(detail["input"])})
        return InvalidRequest(f"Invalid '{param}': {told}", param=param, code=code)
    return _invalid_value(param, kind, context)


def _invalid_value(param: str, kind: str, context: dict[str, Any]) -> InvalidRequest:
    """A value that is none of the allowed ones. The value itself may be content, so it is not repeated."""
    allowed = context.get("expected") or context.get("expected_tags") or ""
    if kind.startswith("union_tag"):
        name = str(context.get("discriminator", "")).strip("'")
        # A union over strings, arrays and objects has a function for a discriminator, and no field to name.
        param = f"{param}.{name}" if name in ("role", "type") else param
        if kind == "union_tag_not_found" and name in ("role", "type"):
            return _missing(param)
    supported = f" Supported values are: {allowed}." if allowed else ""
    return InvalidRequest(f"Invalid value for '{param}'.{supported}", param=param, code="invalid_value")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def _path(detail: ErrorDetails, body: JsonObject) -> str:
    """OpenAI's notation for where an error is; the tags of unions, which pydantic puts in between, are left out."""
    path, here = "", body
    last = len(detail["loc"]) - 1
    for position, part in enumerate(detail["loc"]):
        value: Any = here
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            path, here = f"{path}[{part}]", value[part]
        elif isinstance(part, str) and isinstance(value, dict):
            if part in value:
                path, here = (f"{path}.{part}" if path else part), value[part]
            elif position == last and detail["type"] == "missing":
                path = f"{path}.{part}" if path else part
    return _shown(path)


def _shown(path: str) -> str:
    """A path that may hold a client's own keys, short enough for a header and a log."""
    return "".join(char if char.isprintable() else "?" for char in path)[:200]
