"""Documents as values: what becomes of the generations of cached answers."""

import pytest

from domain.administration.documents import as_forgetful, forgetting
from domain.chat import JsonObject


@pytest.mark.parametrize(
    ("present", "raised"),
    [
        ({}, {"staff": 1}),
        ({"cache_generations": {"*": 4, "staff": 2}}, {"*": 4, "staff": 3}),
        ({"cache_generations": {"staff": "two"}}, {"staff": 1}),
        ({"cache_generations": None}, {"staff": 1}),
    ],
    ids=["first", "again", "no number", "no table"],
)
def test_one_generation_is_raised_and_the_rest_stays(present: JsonObject, raised: JsonObject) -> None:
    assert forgetting({"policy": "strict", **present}, "staff") == {"policy": "strict", "cache_generations": raised}


def test_a_document_that_names_no_generations_takes_over_those_that_were_there() -> None:
    before: JsonObject = {"policy": "strict", "cache_generations": {"*": 2}}

    assert as_forgetful({}, before) == {"cache_generations": {"*": 2}}
    assert as_forgetful({"cache_generations": {"*": 3}}, before) == {"cache_generations": {"*": 3}}
    assert as_forgetful({"policy": "prepaid"}, {}) == {"policy": "prepaid"}
