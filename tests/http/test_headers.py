"""What rate limit headers say of a verdict."""

import pytest

from domain.errors import RateLimited
from domain.rate import Reading, Verdict
from entrypoints.http.errors import Dialect, Manners, answer
from entrypoints.http.headers import duration, rate_limit_headers


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1.0, "0ms"),
        (0.0, "0ms"),
        (0.0004, "0ms"),
        (0.012, "12ms"),
        (0.9994, "999ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (59.123, "59.123s"),
        (59.9996, "1m0s"),
        (60.0, "1m0s"),
        (61.25, "1m1.25s"),
        (360.0, "6m0s"),
        (3_599.9999, "1h0m0s"),
        (3_600.0, "1h0m0s"),
        (86_399.5, "23h59m59.5s"),
    ],
)
def test_a_duration_is_written_as_openai_writes_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_of_several_meters_of_a_unit_the_tightest_is_shown() -> None:
    tenant, group, user = (
        Reading("requests", 600, 40, 60.0),
        Reading("requests", 60, 7, 30.0),
        Reading("requests", 10, 9, 360.0),
    )

    headers = rate_limit_headers(Verdict(True, (tenant, Reading("tokens", 5_000, 0, 86_400.0), group, user)))

    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "24h0m0s",
    }


def test_what_a_replica_decided_alone_is_marked() -> None:
    readings = (Reading("requests", 200, 199, 60.0),)

    shared, local = (rate_limit_headers(Verdict(True, readings, local=alone)) for alone in (False, True))

    assert "X-Sluice-Rate-Limit" not in shared
    assert local == {**shared, "X-Sluice-Rate-Limit": "local"}


@pytest.mark.parametrize(
    ("refused_by", "type_"), [("requests", '"requests"'), ("tokens", '"tokens"'), ("concurrency", '"requests"')]
)
def test_a_refusal_has_openais_type_and_says_when_to_come_back(refused_by: str, type_: str) -> None:
    refusal = RateLimited(Verdict(False, retry_after=12.0001, refused_by=refused_by, meter="group:staff:rpm"))

    told = answer(refusal, Manners(Dialect.OPENAI), "req-1")

    assert f'"type":{type_}'.encode() in told.body
    assert (told.headers["Retry-After"], told.headers["retry-after-ms"]) == ("13", "12001")
