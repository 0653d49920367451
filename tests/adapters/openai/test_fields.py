"""Finish reasons, usage, texts and log probabilities in the words of many providers."""

from typing import Any

import pytest

from adapters.openai.fields import finish_reason, logprobs, text, usage
from domain.errors import ProviderTruncated
from domain.providers import Quirks


@pytest.mark.parametrize(
    ("theirs", "openais"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "function_call"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("tool_use", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("never heard of", "stop"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_finish_reason_becomes_one_of_openais(theirs: object, openais: str | None) -> None:
    assert finish_reason(theirs, Quirks()) == openais


def test_a_provider_may_declare_reasons_of_its_own() -> None:
    quirks = Quirks(finish_reasons={"weary": "length", "error": "stop"})

    assert [finish_reason(theirs, quirks) for theirs in ("weary", "error", "eos")] == ["length", "stop", "stop"]


@pytest.mark.parametrize("theirs", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_ended_in_an_error_is_not_whole(theirs: str) -> None:
    with pytest.raises(ProviderTruncated):
        finish_reason(theirs, Quirks())


@pytest.mark.parametrize(
    "numbers",
    [
        None,
        [],
        {},
        {"total_tokens": 12},
        {"prompt_tokens": 5, "total_tokens": 12},
        {"prompt_tokens": -5, "completion_tokens": 7},
        {"prompt_tokens": 5, "completion_tokens": 7.0},
        {"prompt_tokens": True, "completion_tokens": 7},
        {"prompt_tokens": "5", "completion_tokens": 7},
        {"prompt_tokens": 5, "completion_tokens": None},
        {"prompt_tokens": 2**53, "completion_tokens": 7},
        {"prompt_tokens": 2**53 - 1, "completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_true_counts_as_none(numbers: object) -> None:
    assert usage(numbers, extras=True) is None


def test_a_total_is_added_up_and_not_believed() -> None:
    found = usage({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 1000}, extras=True)

    assert found is not None
    assert found.as_json() == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def test_details_of_usage_are_openais_unless_extras_are_kept() -> None:
    told: dict[str, Any] = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": None, "x": 1},
        "completion_tokens_details": None,
        "cost": 0.1,
    }

    with_extras, without = usage(told, extras=True), usage(told, extras=False)

    assert with_extras is not None
    assert with_extras.details == {"prompt_tokens_details": {"cached_tokens": 2, "x": 1}, "cost": 0.1}
    assert without is not None
    assert without.details == {"prompt_tokens_details": {"cached_tokens": 2}}


@pytest.mark.parametrize(
    ("content", "joined"),
    [
        (None, None),
        ("plain", "plain"),
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
        (["one ", {"type": "image"}, 3, {"text": "two"}], "one two"),
        ([], ""),
        ({"answer": 42}, '{"answer":42}'),
    ],
)
def test_content_becomes_one_text(content: object, joined: str | None) -> None:
    assert text(content) == joined


def test_log_probabilities_always_have_both_lists() -> None:
    item = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}

    assert logprobs({"content": [item], "x": 1}, extras=False) == {"content": [item], "refusal": None}
    assert logprobs({"content": [item], "x": 1}, extras=True) == {"content": [item], "refusal": None, "x": 1}
    assert logprobs([item], extras=True) is None
