"""A chat completion in OpenAI's terms: request, usage, chunk, completion.

What Sluice decides on is typed; the rest of a body is carried whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

#: The members of OpenAI's finish_reason enum.
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that has the schema's shape.

    ``body`` is what a provider gets: the client's body without the gateway's own fields, and not yet with a model.
    ``completion_bound`` is the most tokens that the client wants of each of its ``choices``; None where it set none.
    """

    messages: Sequence[JsonObject]
    body: JsonObject
    model: str | None = None
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    completion_bound: int | None = None
    provider: str | None = None
    group: str | None = None
    conversation: str | None = None
    cache_key: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a completion. ``details`` holds OpenAI's ``*_tokens_details`` and what else a provider sent."""

    prompt_tokens: int
    completion_tokens: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def as_json(self) -> JsonObject:
        """OpenAI's ``usage`` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a provider's stream, already in OpenAI's shape.

    ``body`` has ``choices`` and whatever goes with them (``system_fingerprint``, ``service_tier``, a provider's
    extras), without id, object, created, model and usage: those belong to the answer, not to the event.
    ``data`` is the same as JSON, with the model's name in front: written once, logged and sent as it is.
    """

    body: JsonObject
    data: bytes
    usage: Usage | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer: ``body`` has ``choices`` and what goes with them, as in ``Chunk``, but whole."""

    body: JsonObject
    usage: Usage | None = None
    model: str | None = None

    @property
    def choices(self) -> list[JsonObject]:
        choices: list[JsonObject] = self.body["choices"]
        return choices
