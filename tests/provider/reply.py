"""A good answer as a value, and its two forms: one body or chunks.

The body is folded out of the very deltas that a stream sends, so the two forms cannot disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal

from tests.provider.ask import Ask
from tests.provider.exchange import Json

#: When usage is told: ``asked`` is OpenAI's way, the others are habits of other providers.
UsageHabit = Literal["asked", "never", "always", "in-finish"]


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a streamed choice."""

    fields: Json
    logprobs: Json | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: how its content begins (text with "", anything else with null), its steps, why it ends."""

    deltas: tuple[Delta, ...]
    finish_reason: str = "stop"
    tokens: int = 0
    opening: str | None = ""

    @property
    def message(self) -> Json:
        message: Json = {"role": "assistant", "content": self.opening, "refusal": None}
        for delta in self.deltas:
            message = _fold(message, delta.fields)
        for call in message.get("tool_calls", []):
            del call["index"]
        return message

    @property
    def logprobs(self) -> Json | None:
        told = [delta.logprobs for delta in self.deltas if delta.logprobs]
        folded: Json | None = None
        for one in told:
            folded = _fold(folded or {}, one)
        return folded


@dataclass(frozen=True, slots=True)
class Reply:
    """All choices of an answer and what it cost."""

    choices: tuple[Choice, ...]
    usage: Json
    usage_habit: UsageHabit = "asked"

    def ending(self, finish_reason: str) -> "Reply":
        return replace(self, choices=tuple(replace(one, finish_reason=finish_reason) for one in self.choices))


def usage(prompt: int, completion: int, reasoning: int = 0) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(reply: Reply, ask: Ask) -> Json:
    """The ``chat.completion``."""
    choices = [
        {
            "index": index,
            "message": choice.message,
            "logprobs": choice.logprobs,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(reply.choices)
    ]
    body = {**_envelope(ask, "chat.completion"), "choices": choices}
    if reply.usage_habit != "never":
        body["usage"] = reply.usage
    if ask.body.get("metadata") is not None:
        body["metadata"] = ask.body["metadata"]
    if ask.body.get("moderation"):
        body["moderation"] = _moderation(ask)
    return body


def chunks(reply: Reply, ask: Ask) -> Iterator[Json]:
    """The ``chat.completion.chunk``s in order: openings, choices taking turns, ends, moderation, usage."""
    for index, choice in enumerate(reply.choices):
        opening = {"role": "assistant", "content": choice.opening, "refusal": None}
        yield _chunk(ask, reply, _step(index, Delta(opening)))
    for turn in zip_longest(*(choice.deltas for choice in reply.choices)):
        for index, delta in enumerate(turn):
            if delta is not None:
                yield _chunk(ask, reply, _step(index, delta))
    yield from _ends(reply, ask)
    if ask.body.get("moderation"):
        yield {**_chunk(ask, reply), "moderation": _moderation(ask)}
    if reply.usage_habit == "always" or (reply.usage_habit == "asked" and ask.include_usage):
        yield {**_chunk(ask, reply), "usage": reply.usage}


def _ends(reply: Reply, ask: Ask) -> Iterator[Json]:
    last = len(reply.choices) - 1
    for index, choice in enumerate(reply.choices):
        end = _chunk(ask, reply, {**_step(index, Delta({})), "finish_reason": choice.finish_reason})
        if index == last and reply.usage_habit == "in-finish":
            end["usage"] = reply.usage
        yield end


def _step(index: int, delta: Delta) -> Json:
    return {"index": index, "delta": delta.fields, "logprobs": delta.logprobs, "finish_reason": None}


def _chunk(ask: Ask, reply: Reply, *choices: Json) -> Json:
    chunk = {**_envelope(ask, "chat.completion.chunk"), "choices": list(choices)}
    if ask.include_usage and reply.usage_habit != "never":
        chunk["usage"] = None
    if ask.include_obfuscation:
        chunk["obfuscation"] = "obfuscated"
    return chunk


def _envelope(ask: Ask, kind: str) -> Json:
    seed, tier = ask.body.get("seed"), ask.body.get("service_tier")
    return {
        "id": ask.id,
        "object": kind,
        "created": ask.created,
        "model": ask.body.get("model", ask.name.behaviour),
        "service_tier": "default" if tier in (None, "auto") else tier,
        "system_fingerprint": "fp_scripted" if seed is None else f"fp_seed_{seed}",
    }


def _moderation(ask: Ask) -> Json:
    model = ask.body["moderation"].get("model")
    clean = {
        "type": "moderation_result",
        "model": model,
        "flagged": False,
        "categories": {"violence": False},
        "category_scores": {"violence": 0.0},
        "category_applied_input_types": {"violence": ["text"]},
    }
    results = {"type": "moderation_results", "model": model, "results": [clean]}
    return {"input": results, "output": results}


def _fold(into: Json, step: Json) -> Json:
    """What a client makes of deltas: texts are joined, objects merged, lists lengthened, indexed items merged."""
    folded = dict(into)
    for key, value in step.items():
        folded[key] = _joined(folded.get(key), value)
    return folded


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        return _fold(old, new)
    if isinstance(new, list):
        return _listed(list(old or []), new)
    return old if new is None else new


def _listed(items: list[Any], steps: list[Any]) -> list[Any]:
    for step in steps:
        at = step.get("index") if isinstance(step, dict) else None
        if at is None or at >= len(items):
            items.append(dict(step))
        else:
            items[at] = {**_fold(items[at], step), "index": at}
    return items
