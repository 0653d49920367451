"""The shapes of what Sluice answers. Nothing is made from these models: they describe, and answers are held to them."""

from typing import Any, Literal

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """What went wrong. ``code`` is stable; the table of codes is in the documentation."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """An error in OpenAI's form."""

    error: ErrorDetail


class PlainError(BaseModel):
    """An error of the group surface, and of an empty balance on the tenant surface. Its code is in ``X-Error-Code``."""

    error: str


class Usage(BaseModel):
    """Tokens, by the provider's count or, where it gave none, by the gateway's."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Message(BaseModel):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(BaseModel):
    index: int
    message: Message
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Completion(BaseModel):
    """OpenAI's ``chat.completion``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class Job(BaseModel):
    """A completion that waits for its turn. ``eta`` is in seconds."""

    id: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    eta: int


class RunState(BaseModel):
    """A run as it stands: with the completion's fields once it has completed, with ``error`` once it has failed."""

    id: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    error: ErrorDetail | None = None


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that the caller may ask for."""

    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    """Each check with ``ok`` or the reason why not."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str]
