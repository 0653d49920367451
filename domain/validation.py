"""What a request must mean, once it has the schema's shape. The wording and the codes are OpenAI's."""

from collections.abc import Sequence

from domain.chat import ChatRequest, JsonObject
from domain.errors import InvalidRequest
from domain.ids import is_id

#: Longer ones are no keys but content. The bound is ours.
MAX_CACHE_KEY = 256


def check(request: ChatRequest) -> None:
    """Raise InvalidRequest for the first rule that the request breaks."""
    _check_messages(request.messages)
    _check_combinations(request)
    _check_gateway_fields(request)


def _check_messages(messages: Sequence[JsonObject]) -> None:
    """Every tool call is answered by the tool messages right behind it, and every tool message answers a call."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                raise InvalidRequest(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    param=f"messages[{index}].role",
                )
            open_calls.discard(message["tool_call_id"])
            continue
        _require_answered(open_calls, index)
        if role == "assistant":
            _check_assistant(message, index)
            open_calls = {call["id"] for call in message.get("tool_calls") or ()}
    _require_answered(open_calls, len(messages))


def _require_answered(open_calls: set[str], index: int) -> None:
    if open_calls:
        missing = ", ".join(sorted(open_calls))
        raise InvalidRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
            param=f"messages[{index}].role",
        )


def _check_assistant(message: JsonObject, index: int) -> None:
    says = any(message.get(key) is not None for key in ("content", "refusal", "audio", "function_call"))
    if not says and not message.get("tool_calls"):
        raise InvalidRequest(
            f"Invalid value for 'content': expected a string, got null. (messages[{index}])",
            param=f"messages[{index}].content",
            code="invalid_value",
        )


def _check_combinations(request: ChatRequest) -> None:
    body = request.body
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequest("'logprobs' must be true to use 'top_logprobs'.", param="top_logprobs")
    if body.get("stream_options") is not None and not request.stream:
        raise InvalidRequest("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                             param="stream_options")  # fmt: skip


def _check_gateway_fields(request: ChatRequest) -> None:
    if request.conversation is not None and not is_id(request.conversation):
        raise InvalidRequest(
            "Invalid 'conversation_id': 1 to 128 letters, digits, '.', '_', '@' or '-'.",
            param="conversation_id",
            code="invalid_value",
        )
    if request.cache_key is not None and not 1 <= len(request.cache_key) <= MAX_CACHE_KEY:
        raise InvalidRequest(
            f"Invalid 'cache_key': 1 to {MAX_CACHE_KEY} characters.", param="cache_key", code="invalid_value"
        )
