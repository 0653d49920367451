"""Usage in OpenAI's form."""

from domain.chat import Usage


def test_the_total_is_prompt_and_completion() -> None:
    assert Usage(9, 2).total_tokens == 11


def test_usage_is_openais_object_with_the_details_that_a_provider_sent() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 1}, "queue_time": 0.1}

    assert Usage(9, 2, details).as_json() == {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "completion_tokens_details": {"reasoning_tokens": 1},
        "queue_time": 0.1,
    }
