"""Is it OpenAI's, to the letter? Asked of OpenAI's published schemas and of the types of its own client."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from openai.types.chat import ChatCompletion, ChatCompletionChunk

_SCHEMAS = Path(__file__).with_name("openai_chat_schemas.json")
#: What OpenAI's API streams although its schema of a delta does not have it.
_STREAMED_TOO = ("annotations", "audio")


def require_completion(body: Any, *, closed: bool = False) -> None:
    """Fail unless this is a ``chat.completion``; ``closed`` allows no field beyond the schema's."""
    _require(body, "CreateChatCompletionResponse", closed)
    ChatCompletion.model_validate_json(json.dumps(body), strict=True)
    for choice in body["choices"]:
        # The schema has them nullable; the contract has them always.
        assert {"role", "content", "refusal"} <= choice["message"].keys()
        assert "logprobs" in choice
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def require_chunk(body: Any, *, closed: bool = False) -> None:
    """Fail unless this is a ``chat.completion.chunk``."""
    _require(body, "CreateChatCompletionStreamResponse", closed)
    ChatCompletionChunk.model_validate_json(json.dumps(body), strict=True)


def require_error(body: Any) -> None:
    """Fail unless this is OpenAI's error body: one error with its four keys, and nothing else."""
    _require(body, "ErrorResponse", closed=True)


def require_models(body: Any) -> None:
    _require(body, "ListModelsResponse", closed=True)


def require_model(body: Any) -> None:
    _require(body, "Model", closed=True)


def _require(body: Any, schema: str, closed: bool) -> None:
    _validator(schema, closed).validate(body)


@cache
def _validator(name: str, closed: bool) -> Draft202012Validator:
    published = json.loads(_SCHEMAS.read_text())["components"]["schemas"]
    delta = published["ChatCompletionStreamResponseDelta"]["properties"]
    delta |= {name: {} for name in _STREAMED_TOO}
    schemas = _everywhere(_everywhere(published, _nullable), _closed if closed else _as_it_is)
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})


def _everywhere(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(node, list):
        return [_everywhere(item, change) for item in node]
    if isinstance(node, dict):
        return change({key: _everywhere(value, change) for key, value in node.items()})
    return node


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0's ``nullable``, which stands in this document of 3.1, in terms of JSON Schema."""
    if schema.get("nullable") is not True:
        return schema
    rest = {key: value for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        return {**schema, "additionalProperties": False}
    return schema


def _as_it_is(schema: dict[str, Any]) -> dict[str, Any]:
    return schema
