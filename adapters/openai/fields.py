"""Single fields of an answer, brought into OpenAI's terms."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from adapters.openai.toolcalls import as_text
from domain.chat import FINISH_REASONS, JsonObject, Usage
from domain.errors import ProviderTruncated
from domain.providers import Quirks
from domain.tokens import MAX_TOKENS

#: What others call the reasons; in lower case, since some shout.
_REASONS: Mapping[str, str] = {
    **{reason: reason for reason in FINISH_REASONS},
    **dict.fromkeys(("max_tokens", "model_length", "max_length", "max_output_tokens", "length_limit"), "length"),
    **dict.fromkeys(("context_window_exceeded", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("tool_use", "tool_call", "function_calls"), "tool_calls"),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), "content_filter"),
    **dict.fromkeys(("refusal", "guardrail_intervened", "content_filtered", "sensitive"), "content_filter"),
}
#: An answer that "ended" for one of these is not whole: Mistral and OpenRouter, vLLM, DeepSeek, Zhipu.
_BROKEN_OFF = frozenset({"error", "abort", "insufficient_system_resource", "network_error"})

_USAGE = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_DETAILS: Mapping[str, frozenset[str]] = {
    "prompt_tokens_details": frozenset(
        {"cached_tokens", "audio_tokens", "text_tokens", "image_tokens", "cache_write_tokens"}
    ),
    "completion_tokens_details": frozenset(
        {"reasoning_tokens", "audio_tokens", "text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"}
    ),
}


def finish_reason(raw: object, quirks: Quirks) -> str | None:
    """One of OpenAI's reasons; None where the choice goes on. A reason that nobody knows is an ordinary stop.

    Raises:
        ProviderTruncated: it says that the answer broke off.
    """
    if not isinstance(raw, str) or not raw:
        return None
    if raw in quirks.finish_reasons:
        return quirks.finish_reasons[raw]
    name = raw.lower()
    if name in _BROKEN_OFF:
        raise ProviderTruncated(detail=f"finish reason {name}")
    return _REASONS.get(name, "stop")


def usage(raw: object, *, extras: bool) -> Usage | None:
    """The tokens used; None where there are none that can be true. A total is never believed, but added up."""
    if not isinstance(raw, dict):
        return None
    prompt, completed = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if not (_is_count(prompt) and _is_count(completed) and _is_count(prompt + completed)):
        return None
    details: dict[str, Any] = {
        name: {key: value for key, value in raw[name].items() if (_is_count(value) if key in known else extras)}
        for name, known in _DETAILS.items()
        if isinstance(raw.get(name), dict)
    }
    if extras:
        details |= {key: value for key, value in raw.items() if key not in _USAGE and key not in _DETAILS}
    return Usage(prompt, completed, details)


def text(value: object) -> str | None:
    """Content as one text: of a list of parts, their texts; of what is no text at all, its JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(part if isinstance(part, str) else _part_text(part) for part in value)
    return as_text(value)


def _part_text(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def logprobs(raw: object, *, extras: bool) -> JsonObject | None:
    """Both of OpenAI's lists, nullable; None where there is nothing."""
    if not isinstance(raw, dict):
        return None
    lists = {key: raw[key] if isinstance(raw.get(key), list) else None for key in ("content", "refusal")}
    return {**{key: value for key, value in raw.items() if extras}, **lists}


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_TOKENS
