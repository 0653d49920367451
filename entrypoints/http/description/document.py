"""An OpenAPI document out of operations and pydantic models, for whatever API: plain dictionaries, no library.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

JsonObject: TypeAlias = dict[str, Any]
Place: TypeAlias = Literal["path", "query", "header"]

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a request brings beside its body; ``schema`` is JSON Schema."""

    name: str
    place: Place
    says: str
    schema: JsonObject
    required: bool = False

    def as_json(self) -> JsonObject:
        return {
            "name": self.name,
            "in": self.place,
            "description": self.says,
            "required": self.required or self.place == "path",
            "schema": self.schema,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its body is one of ``models`` in JSON of this ``form``, or text of another ``media`` type; or none.

    ``links`` are names of operations with the parameters that the answer has for them, as runtime expressions.
    """

    says: str
    models: tuple[type[BaseModel], ...] = ()
    media: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    form: str = _JSON

    def as_json(self) -> JsonObject:
        content: JsonObject = {self.form: {"schema": _one_of(self.models)}} if self.models else {}
        content |= {media: {"schema": {"type": "string"}} for media in self.media}
        headers = {name: {"description": says, "schema": {"type": "string"}} for name, says in self.headers.items()}
        links = {name: {"operationId": name, "parameters": dict(given)} for name, given in self.links.items()}
        told = {"description": self.says, "headers": headers, "content": content, "links": links}
        return {key: value for key, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does on one path. ``replies`` are by status; it takes one of ``bodies``, as ``example`` is one.

    ``open`` needs no token; otherwise ``optional`` says that there are callers who need none.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    replies: Mapping[int, Reply]
    says: str = ""
    parameters: Sequence[Parameter] = ()
    bodies: tuple[type[BaseModel], ...] = ()
    example: JsonObject | None = None
    open: bool = False
    optional: bool = False

    def as_json(self) -> JsonObject:
        told: JsonObject = {
            "operationId": self.name,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.says,
            "parameters": [parameter.as_json() for parameter in self.parameters],
            "responses": {str(status): reply.as_json() for status, reply in self.replies.items()},
            "security": [] if self.open else [{"bearer": []}, *([{}] if self.optional else [])],
        }
        if self.bodies:
            body = {"schema": _one_of(self.bodies), **({"example": self.example} if self.example else {})}
            told["requestBody"] = {"required": True, "content": {_JSON: body}}
        return {key: value for key, value in told.items() if value or key == "security"}


def document(
    title: str, version: str, says: str, tags: Mapping[str, str], operations: Sequence[Operation]
) -> JsonObject:
    """The whole description. Every model that an operation names is a component, with those that it is made of."""
    paths: dict[str, JsonObject] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.as_json()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": says,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Wherever the document was fetched from.
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in tags.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(operations: Sequence[Operation]) -> JsonObject:
    replies = [reply for operation in operations for reply in operation.replies.values()]
    models = {model for operation in operations for model in operation.bodies}
    models |= {model for reply in replies for model in reply.models}
    wanted = [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)]
    _, schema = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type] # a list of literals, for mypy one of str
    found: JsonObject = schema["$defs"]
    return found


def _one_of(models: Sequence[type[BaseModel]]) -> JsonObject:
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return references[0] if len(references) == 1 else {"anyOf": references}
