"""Tokens of a prompt, the context-window check, and what a request may cost before and after it ran."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

from domain.chat import ChatRequest, JsonObject
from domain.errors import ContextLengthExceeded
from domain.images import ImageRule, image_tokens

#: How OpenAI's models frame messages and tools, in tokens; the same constants approximate everybody else's.
#: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
_PER_MESSAGE = 3
_PER_NAME = 1
_REPLY_PRIMING = 3
_PER_TOOL = 7
_TOOLS_END = 12
_PROPERTIES_INIT = 3
_PER_PROPERTY = 3
_ENUM_INIT = -3
_PER_ENUM_ITEM = 3

#: The completion that is reckoned with where neither the client nor the catalogue bounds it.
UNBOUNDED_COMPLETION = 4_096
#: The completion that a tokens-per-minute meter expects of a request that names no bound.
TYPICAL_COMPLETION = 1_024
#: The widest integer that Redis's Lua and every JSON reader keep exact.
MAX_TOKENS = 2**53 - 1


class TokenPolicy(Enum):
    """What a balance that is smaller than the request may do (``docs/tokens.md``)."""

    PREPAID = "prepaid"
    """A request that was admitted may finish; its overrun is a debt."""
    STRICT = "strict"
    """The balance never goes below zero: the completion is bounded by what is left."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What there is to count in a prompt: ``texts`` for the tokenizer, and ``overhead`` tokens around them."""

    texts: tuple[str, ...]
    overhead: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request asks of a balance: ``wanted`` tokens, and not without ``least`` of them."""

    wanted: int
    least: int


# --- counting -----------------------------------------------------------------------------------------------------


def measure(request: ChatRequest, images: ImageRule | None) -> Measure:
    """Collect the texts of a prompt, messages and tools, and the tokens of what is no text."""
    texts: list[str] = []
    overhead = _REPLY_PRIMING
    for message in request.messages:
        overhead += _measure_message(message, images, texts)
    tools = [*_functions(request.body)]
    if tools:
        overhead += _TOOLS_END + sum(_measure_tool(tool, texts) for tool in tools)
    return Measure(tuple(texts), overhead)


def answer_texts(choices: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The texts of a finished answer's choices that count as completion tokens."""
    texts: list[str] = []
    for choice in choices:
        message = choice.get("message") or {}
        texts += [text for key in ("content", "refusal", "reasoning_content", "reasoning")
                  if isinstance(text := message.get(key), str)]  # fmt: skip
        for call in message.get("tool_calls") or ():
            texts += _call_texts(call)
        if isinstance(message.get("function_call"), dict):
            texts += _strings(message["function_call"])
    return tuple(texts)


def _measure_message(message: JsonObject, images: ImageRule | None, texts: list[str]) -> int:
    overhead = _PER_MESSAGE
    texts.append(message["role"])
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        overhead += _measure_part(part, images, texts)
    if message.get("name"):
        texts.append(message["name"])
        overhead += _PER_NAME
    for call in message.get("tool_calls") or ():
        texts.extend(_call_texts(call))
    texts.extend(message[key] for key in ("tool_call_id", "refusal") if isinstance(message.get(key), str))
    if isinstance(message.get("function_call"), dict):
        texts.extend(_strings(message["function_call"]))
    return overhead


def _measure_part(part: JsonObject, images: ImageRule | None, texts: list[str]) -> int:
    texts.extend(part[key] for key in ("text", "refusal") if isinstance(part.get(key), str))
    image = part.get("image_url")
    if isinstance(image, dict) and images is not None:
        return image_tokens(images, str(image.get("url", "")), image.get("detail"))
    return 0


def _functions(body: JsonObject) -> Iterator[JsonObject]:
    """The declarations of all tools, the deprecated ``functions`` included."""
    for tool in body.get("tools") or ():
        declared = tool.get(str(tool.get("type"))) if isinstance(tool, dict) else None
        if isinstance(declared, dict):
            yield declared
    for declared in body.get("functions") or ():
        if isinstance(declared, dict):
            yield declared


def _measure_tool(tool: JsonObject, texts: list[str]) -> int:
    texts.append(f"{tool.get('name', '')}:{str(tool.get('description') or '').removesuffix('.')}")
    return _PER_TOOL + _measure_properties(tool.get("parameters"), texts)


def _measure_properties(schema: object, texts: list[str]) -> int:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return 0
    overhead = _PROPERTIES_INIT
    for name, facts in properties.items():
        overhead += _PER_PROPERTY
        if not isinstance(facts, dict):
            continue
        texts.append(f"{name}:{facts.get('type', '')}:{str(facts.get('description') or '').removesuffix('.')}")
        options = facts.get("enum")
        if isinstance(options, list) and options:
            overhead += _ENUM_INIT + _PER_ENUM_ITEM * len(options)
            texts.extend(str(option) for option in options)
        overhead += _measure_properties(facts, texts) + _measure_properties(facts.get("items"), texts)
    return overhead


def _call_texts(call: JsonObject) -> list[str]:
    return [text for key in ("function", "custom") if isinstance(call.get(key), dict) for text in _strings(call[key])]


def _strings(mapping: JsonObject) -> list[str]:
    return [value for value in mapping.values() if isinstance(value, str)]


# --- the window and the cost --------------------------------------------------------------------------------------


def require_fit(window: int | None, prompt_tokens: int, request: ChatRequest) -> None:
    """Raise ContextLengthExceeded unless the prompt, and the completion that was asked for, fit the window.

    A window that nobody knows (None) is the provider's to check. A prompt must leave room for one token.
    """
    asked = request.completion_bound or 0
    if window is not None and prompt_tokens + max(asked, 1) > window:
        raise ContextLengthExceeded(window=window, prompt_tokens=prompt_tokens, completion_tokens=asked)


def completion_bound(
    request: ChatRequest, *, window: int | None, max_output_tokens: int | None, prompt_tokens: int
) -> int:
    """The most tokens that all choices together can have, as far as anybody has said."""
    bounds = [request.completion_bound or max_output_tokens or UNBOUNDED_COMPLETION]
    if max_output_tokens is not None:
        bounds.append(max_output_tokens)
    if window is not None:
        bounds.append(max(window - prompt_tokens, 1))
    return min(bounds) * request.choices


def weighed(tokens: int, weight: float) -> int:
    """What so many tokens of a model cost: each ``weight`` tokens of the balance, rounded up.

    Exact: a weight of 0.1 is a tenth, which a double is not.
    """
    return tokens if weight == 1 else math.ceil(Fraction(str(weight)) * tokens)


def rate_estimate(request: ChatRequest, prompt_tokens: int, bound: int) -> int:
    """What a request takes from a tokens-per-minute meter until its usage is known.

    The most that a model could say would fill the meter with air, so an unbounded request counts as a typical one.
    """
    return prompt_tokens + min(bound, (request.completion_bound or TYPICAL_COMPLETION) * request.choices)


def reservation(policy: TokenPolicy, prompt_tokens: int, bound: int, weight: float = 1.0) -> Reservation:
    """What a request asks of its caller's balance under the tenant's policy."""
    wanted = max(1, min(weighed(prompt_tokens + bound, weight), MAX_TOKENS))
    least = 1 if policy is TokenPolicy.PREPAID else min(weighed(prompt_tokens + 1, weight), wanted)
    return Reservation(wanted, max(least, 1))


def clamped_bound(
    policy: TokenPolicy, *, held: int, prompt_tokens: int, request: ChatRequest, weight: float = 1.0
) -> int | None:
    """The completion bound to send upstream where the policy lowers it; None where the request's own stands."""
    if policy is TokenPolicy.PREPAID or not weight:
        return None
    affordable = math.floor(held / Fraction(str(weight)))
    payable = max(1, (affordable - prompt_tokens) // request.choices)
    if request.completion_bound is not None and request.completion_bound <= payable:
        return None
    return payable
