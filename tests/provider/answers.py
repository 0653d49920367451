"""Good answers: each a pure function from what was asked to a reply. Words are the tokens here."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson

from tests.provider import samples
from tests.provider.ask import Ask, message_text
from tests.provider.exchange import Json
from tests.provider.reply import Choice, Delta, Reply, usage

Answer = Callable[[Ask], Reply]

NO_BYTES = "∅"  # a token whose bytes are told as null, as OpenAI does for tokens that have none
LOGPROBS_TEXT = f"Grüße aus 🌍 und {NO_BYTES} hier"


def pieces(text: str) -> list[str]:
    """Words with the white space around them, so that joining them gives ``text`` again."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def echo(ask: Ask) -> Reply:
    return text_reply(ask.last_user_text, ask)


def words(ask: Ask) -> Reply:
    return text_reply(numbered(ask.name.number("n", 10)), ask)


def prefill(ask: Ask) -> Reply:
    """The words that are not in an assistant's message that stands last, which it goes on with."""
    text = numbered(ask.name.number("n", 10))
    last = ask.messages[-1] if ask.messages else {}
    begun = message_text(last) if last.get("role") == "assistant" else ""
    return text_reply(text.removeprefix(begun), ask)


def numbered(count: int) -> str:
    return " ".join(f"w{index}" for index in range(count))


def logprobs(ask: Ask) -> Reply:
    return text_reply(LOGPROBS_TEXT, ask)


def refusal(ask: Ask) -> Reply:
    return reply(replace(text_choice("I cannot help with that.", ask, field="refusal"), opening=None), ask)


def annotations(ask: Ask) -> Reply:
    source = {"start_index": 0, "end_index": 5, "title": "A source", "url": "https://example.com/source"}
    citation = Delta({"annotations": [{"type": "url_citation", "url_citation": source}]})
    choice = text_choice("Water boils at 100 degrees.", ask)
    return reply(replace(choice, deltas=(*choice.deltas, citation)), ask)


def audio(ask: Ask) -> Reply:
    """Audio whose data comes in two base64 pieces; a base64 text is cut at a multiple of four."""
    data = base64.b64encode(b"RIFF scripted audio ").decode()
    steps: list[Json] = [{"id": f"audio_{ask.number}"}]
    steps += [{"transcript": piece} for piece in pieces("spoken words")]
    steps += [{"data": data[:12]}, {"data": data[12:]}, {"expires_at": ask.created + 3600}]
    deltas = tuple(Delta({"audio": step}) for step in steps)
    return reply(Choice(deltas, tokens=2, opening=None), ask)


def reasoning(ask: Ask) -> Reply:
    thoughts = tuple(Delta({"reasoning_content": piece}) for piece in pieces("Let me think about it. "))
    choice = text_choice(ask.last_user_text, ask)
    thought = replace(choice, deltas=thoughts + choice.deltas, tokens=choice.tokens + len(thoughts))
    return reply(thought, ask, reasoning_tokens=len(thoughts))


def content_parts(ask: Ask) -> Reply:
    choice = text_choice(ask.last_user_text, ask)
    parts = tuple(
        replace(delta, fields={"content": [{"type": "text", "text": delta.fields["content"]}]})
        for delta in choice.deltas
    )
    return reply(replace(choice, deltas=parts, opening=None), ask)


def tools(ask: Ask) -> Reply:
    """Calls, or text: when results are already there, when no function was offered, when tool_choice is none."""
    results = [message_text(message) for message in ask.messages if message.get("role") in ("tool", "function")]
    if results:
        return text_reply("The tools said: " + ", ".join(f'"{result}"' for result in results), ask)
    if ask.body.get("functions"):
        return _legacy_call(ask, ask.body["functions"][0])
    functions = _chosen(ask)
    if not functions:
        return text_reply("No tool was called.", ask)
    return _calls(ask, functions)


def custom_tool(ask: Ask) -> Reply:
    offered = [tool["custom"]["name"] for tool in ask.body.get("tools") or [] if tool.get("type") == "custom"]
    name = offered[0] if offered else "run"
    steps: list[Json] = [{"index": 0, "id": _call_id(ask, 0), "type": "custom", "custom": {"name": name, "input": ""}}]
    steps += [{"index": 0, "custom": {"input": piece}} for piece in _cut("print('hello from the custom tool')")]
    return reply(_calling(steps), ask)


ANSWERS: Mapping[str, Answer] = {
    "echo": echo,
    "words": words,
    "prefill": prefill,
    "tools": tools,
    "custom-tool": custom_tool,
    "logprobs": logprobs,
    "refusal": refusal,
    "annotations": annotations,
    "audio": audio,
    "reasoning": reasoning,
    "content-parts": content_parts,
}


def text_reply(text: str, ask: Ask) -> Reply:
    return reply(text_choice(text, ask), ask)


def reply(choice: Choice, ask: Ask, *, reasoning_tokens: int = 0) -> Reply:
    """``choice`` as often as ``n`` asks; the prompt is counted once, as OpenAI does."""
    told = usage(ask.prompt_tokens, choice.tokens * ask.n, reasoning_tokens * ask.n)
    return Reply((choice,) * ask.n, told)


def text_choice(text: str, ask: Ask, *, field: str = "content") -> Choice:
    """``text``, or the JSON that response_format asks for, up to a stop string and the completion bound."""
    said = _before_stop(_formatted(ask) or text, ask.stops)
    steps, bound = pieces(said), ask.max_tokens
    cut = bound is not None and len(steps) > bound
    kept = steps[:bound] if cut else steps
    deltas = tuple(Delta({field: piece}, _logprobs(piece, ask, field)) for piece in kept)
    return Choice(deltas, "length" if cut else "stop", len("".join(kept).split()))


def _formatted(ask: Ask) -> str:
    wanted = ask.body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return orjson.dumps(samples.of(wanted["json_schema"].get("schema") or {})).decode()
    return '{"ok": true}' if wanted.get("type") == "json_object" else ""


def _before_stop(text: str, stops: list[str]) -> str:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def _logprobs(token: str, ask: Ask, field: str) -> Json | None:
    if ask.body.get("logprobs") is not True:
        return None
    top = [_logprob(f"{token}{rank or ''}", rank) for rank in range(ask.body.get("top_logprobs") or 0)]
    return {"content": None, "refusal": None, field: [{**_logprob(token, 0), "top_logprobs": top}]}


def _logprob(token: str, rank: int) -> Json:
    data = None if token.strip() == NO_BYTES else list(token.encode())
    return {"token": token, "logprob": -0.25 * (rank + 1), "bytes": data}


def _chosen(ask: Ask) -> list[Json]:
    """The functions to call, as ``tools``, ``tool_choice`` and ``parallel_tool_calls`` allow."""
    offered = [tool["function"] for tool in ask.body.get("tools") or [] if tool.get("type") == "function"]
    choice = ask.body.get("tool_choice")
    if choice == "none":
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        return [one for one in offered if one["name"] == choice["function"]["name"]]
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = {tool.get("function", {}).get("name") for tool in choice["allowed_tools"]["tools"]}
        offered = [one for one in offered if one["name"] in allowed]
    # Two calls even of a lone function, so that a caller always meets parallel calls unless it declined them.
    return (offered * 2)[:2] if ask.body.get("parallel_tool_calls") is not False else offered[:1]


def _calls(ask: Ask, functions: list[Json]) -> Reply:
    steps: list[Json] = []
    for index, function in enumerate(functions):
        call = {"name": function["name"], "arguments": ""}
        steps.append({"index": index, "id": _call_id(ask, index), "type": "function", "function": call})
        steps += [{"index": index, "function": {"arguments": piece}} for piece in _cut(_arguments(function, index))]
    return reply(_calling(steps), ask)


def _calling(steps: list[Json]) -> Choice:
    return Choice(tuple(Delta({"tool_calls": [step]}) for step in steps), "tool_calls", len(steps), opening=None)


def _legacy_call(ask: Ask, function: Json) -> Reply:
    steps: list[Json] = [{"name": function["name"], "arguments": ""}]
    steps += [{"arguments": piece} for piece in _cut(_arguments(function, 0))]
    deltas = tuple(Delta({"function_call": step}) for step in steps)
    return reply(Choice(deltas, "function_call", len(steps), opening=None), ask)


def _arguments(function: Json, index: int) -> str:
    return orjson.dumps(samples.of(function.get("parameters") or {}, index)).decode()


def _call_id(ask: Ask, index: int) -> str:
    return f"call_{ask.number}_{index}"


def _cut(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
