"""Requests for every kind of answer that the schema has, by name. The model's name says what the provider does."""

from collections.abc import Mapping
from typing import Any

from tests.provider.talk import CLOCK, WEATHER

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
_CUSTOM = {"type": "custom", "custom": {"name": "run_code"}}

#: What a provider that is in all things like OpenAI answers.
CLEAN: Mapping[str, Mapping[str, Any]] = {
    "text": {"model": "echo"},
    "many words": {"model": "words-n50"},
    "several choices": {"model": "words-n3", "n": 3},
    "parallel tool calls": {"model": "tools", "tools": [WEATHER, CLOCK]},
    "one tool call": {"model": "tools", "tools": [WEATHER], "parallel_tool_calls": False},
    "a chosen tool": {
        "model": "tools",
        "tools": [WEATHER, CLOCK],
        "tool_choice": {"type": "function", "function": {"name": "get_time"}},
    },
    "no tool": {"model": "tools", "tools": [WEATHER], "tool_choice": "none"},
    "tool calls of several choices": {"model": "tools", "tools": [WEATHER, CLOCK], "n": 2},
    "a custom tool": {"model": "custom-tool", "tools": [_CUSTOM]},
    "a function": {"model": "tools", "functions": [WEATHER["function"]]},
    "logprobs": {"model": "logprobs", "logprobs": True, "top_logprobs": 2},
    "logprobs without others": {"model": "logprobs", "logprobs": True},
    "a refusal": {"model": "refusal"},
    "a refusal with logprobs": {"model": "refusal", "logprobs": True},
    "annotations": {"model": "annotations"},
    "audio": {"model": "audio", "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "a JSON object": {"model": "echo", "response_format": {"type": "json_object"}},
    "a JSON schema": {
        "model": "echo",
        "response_format": {"type": "json_schema", "json_schema": {"name": "trip", "schema": _SCHEMA, "strict": True}},
    },
    "a bound": {"model": "words-n9", "max_completion_tokens": 4},
    "the older bound": {"model": "words-n9", "max_tokens": 4},
    "a stop": {"model": "words-n9", "stop": ["w5"]},
    "a seed": {"model": "echo", "seed": 7},
    "a service tier": {"model": "echo", "service_tier": "flex"},
    "moderation": {"model": "echo", "moderation": {"model": "omni-moderation-latest"}},
    "metadata": {"model": "echo", "metadata": {"trip": "1"}},
}

#: What others answer, who are not quite like OpenAI.
HABITS: Mapping[str, Mapping[str, Any]] = {
    name: {"model": name}
    for name in (
        "usage-none",
        "usage-always",
        "usage-in-finish",
        "usage-bad-negative",
        "usage-bad-float",
        "usage-bad-huge",
        "usage-bad-text",
        "usage-bad-partial",
        "finish-end_turn",
        "finish-model_length",
        "no-done",
        "close-delimited",
        "comments",
        "u2028",
        "extras",
        "empty-choices",
        "reasoning",
        "content-parts",
        "cookie",
        "wrong-type",
        "whole-stream",
        "two-responses",
    )
}

ASKS: Mapping[str, Mapping[str, Any]] = {**CLEAN, **HABITS}
