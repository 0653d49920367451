"""An answer that broke off after part of it was given out, and how another attempt goes on with it. Pure.

It goes on only where nobody could tell: the next one is given what was said and says the rest (prefill), or says
everything again, and is believed from there on only if what it repeats is the same, character for character (repeat).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.chat import Chunk, JsonObject, Usage
from domain.completions.assembly import Assembly, rewritten, speaks, without_role
from domain.ports import Call
from domain.providers import Target

#: How often an answer may be gone on with.
MOST_SEQUELS = 2

_BOUNDS = ("max_completion_tokens", "max_tokens")


class Diverged(Exception):
    """What is said again is not what was said before."""


@dataclass(frozen=True, slots=True)
class Said:
    """What of an answer was given out: its text, and about how many tokens that is."""

    text: str
    tokens: int


def plain_text(body: JsonObject, assembly: Assembly) -> str | None:
    """The text of an answer that may be gone on with; None where that would not be honest, or nothing was said.

    That is a single choice of nothing but text: of calls, refusals, audio or reasoning another attempt cannot know the
    rest, several choices mix, and probabilities are those of one attempt.
    """
    choices = assembly.completion().choices
    if len(choices) != 1 or (body.get("n") or 1) != 1 or body.get("logprobs"):
        return None
    (choice,) = choices
    text = choice["message"].get("content")
    rest = {key: value for key, value in choice["message"].items() if key not in ("role", "content")}
    if choice["finish_reason"] is not None or any(value not in (None, "", [], {}) for value in rest.values()):
        return None
    return text if isinstance(text, str) and text else None


def takes_prefill(target: Target, body: JsonObject, said_tokens: int) -> bool:
    """Whether a target can be given the beginning of its answer, and this request's may be.

    Calls and structured answers are decided on at their beginning; a bound must leave something to say.
    """
    if target.provider.quirks.prefill is None or body.get("tools") or body.get("functions"):
        return False
    if (body.get("response_format") or {}).get("type", "text") != "text":
        return False
    return all(body[name] > said_tokens for name in _BOUNDS if body.get(name) is not None)


def prefilled(call: Call, said: Said) -> Call:
    """The call for the rest of an answer, of which so much was said."""
    prefill = call.target.provider.quirks.prefill
    assert prefill is not None  # noqa: S101 - takes_prefill says so
    message = {"role": "assistant", "content": said.text, **prefill.message}
    bounds = {name: call.body[name] - said.tokens for name in _BOUNDS if call.body.get(name) is not None}
    messages = [*call.body["messages"], message]
    return replace(call, body={**call.body, **bounds, **prefill.body, "messages": messages})


class Rest:
    """What is new in an answer that is given the beginning of what was said."""

    how = "prefill"

    def __init__(self, said: Said) -> None:
        self._said = said

    def of(self, chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """What to give out of these chunks. What was said before counts as said, not as asked."""
        return tuple(self._charged(without_role(chunk)) for chunk in chunks if speaks(chunk) or chunk.usage)

    def _charged(self, chunk: Chunk) -> Chunk:
        usage, tokens = chunk.usage, self._said.tokens
        if usage is None:
            return chunk
        prompt = max(usage.prompt_tokens - tokens, 0)
        joined = Usage(prompt, usage.total_tokens - prompt, usage.details)
        return replace(chunk, usage=joined)


class Repetition:
    """What is new in an answer that is said once more."""

    how = "repeat"

    def __init__(self, said: Said) -> None:
        self._left = said.text

    def of(self, chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """What to give out of these chunks.

        Raises:
            Diverged: they say something else than was said.
        """
        found = (self._of(chunk) if self._left else without_role(chunk) for chunk in chunks)
        return tuple(chunk for chunk in found if chunk is not None and (speaks(chunk) or chunk.usage))

    def _of(self, chunk: Chunk) -> Chunk | None:
        choices: Sequence[JsonObject] = chunk.body["choices"]
        if not choices:
            return None
        if len(choices) > 1 or not _is_text(choices[0]["delta"]):
            raise Diverged
        new = self._beyond(choices[0]["delta"].get("content") or "")
        if choices[0]["finish_reason"] is None and not new:
            return None
        if self._left:
            # It ends before it has said what was said.
            raise Diverged
        return rewritten(chunk, {**chunk.body, "choices": [{**choices[0], "delta": {"content": new}}]})

    def _beyond(self, piece: str) -> str:
        """What of a piece lies beyond what was said."""
        known = min(len(piece), len(self._left))
        if piece[:known] != self._left[:known]:
            raise Diverged
        self._left = self._left[known:]
        return piece[known:]


def _is_text(delta: Mapping[str, Any]) -> bool:
    return all(key in ("role", "content") or value in (None, "", [], {}) for key, value in delta.items())
