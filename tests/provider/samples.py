"""A fixed value for a JSON schema: what a scripted model answers where structure was asked for."""

from typing import Any

from tests.provider.exchange import Json


def of(schema: Json, index: int = 0, name: str = "value") -> Any:
    """A value that fits ``schema``, the same every time; ``index`` tells parallel calls apart."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][index % len(schema["enum"])]
    kind = schema.get("type", "object")
    if kind == "object":
        return {key: of(inner, index, key) for key, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [of(schema.get("items", {}), index, name)]
    plain = {"string": f"{name} {index}", "integer": index, "number": index + 0.5, "boolean": True}
    return plain.get(kind if isinstance(kind, str) else kind[0])
