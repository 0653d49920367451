"""What is done about each failure, and how long is waited before the same target is asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import (
    ProviderBadResponse,
    ProviderError,
    ProviderHungUp,
    ProviderOutOfQuota,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
)
from domain.remedies import Blame, Pauses, Remedy, blame, may_retry, pause, remedy, retries


def rejected(code: str, status: int = 400) -> ProviderRejected:
    return ProviderRejected("no", code=code, param=None, status=status)


@pytest.mark.parametrize(
    ("error", "remedied", "blamed"),
    [
        (ProviderUnreachable(), Remedy.AGAIN, Blame.TARGET),
        (ProviderTruncated(), Remedy.AGAIN, Blame.TARGET),
        (ProviderHungUp(), Remedy.AT_ONCE, Blame.UNKNOWN),
        *((ProviderError(status=status), Remedy.AGAIN, Blame.TARGET) for status in (500, 502, 503, 529)),
        (ProviderError(), Remedy.AGAIN, Blame.TARGET),
        *((ProviderTimeout(status=status), Remedy.AGAIN, Blame.TARGET) for status in (408, 504)),
        (ProviderRateLimited(retry_after=3.0), Remedy.AGAIN, Blame.PACE),
        (ProviderOutOfQuota(), Remedy.ELSEWHERE, Blame.PACE),
        (ProviderRefusedKey(status=401), Remedy.ELSEWHERE, Blame.KEY),
        (ProviderTimeout(), Remedy.ELSEWHERE, Blame.TARGET),
        (ProviderBadResponse(), Remedy.ELSEWHERE, Blame.TARGET),
        (ProviderError(status=418), Remedy.ELSEWHERE, Blame.TARGET),
        (rejected("model_not_found", 404), Remedy.ELSEWHERE, Blame.NOTHING),
        (rejected("context_length_exceeded"), Remedy.LARGER, Blame.NOTHING),
        (rejected("content_filter"), Remedy.TELL, Blame.NOTHING),
        (rejected("content_policy_violation"), Remedy.TELL, Blame.NOTHING),
        (rejected("invalid_request"), Remedy.TELL, Blame.NOTHING),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_failure_has_its_remedy_and_its_blame(error: ProviderError, remedied: Remedy, blamed: Blame) -> None:
    assert (remedy(error), blame(error)) == (remedied, blamed)


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_filters_refusal_goes_elsewhere_only_where_the_tenant_says_so(code: str) -> None:
    assert remedy(rejected(code), reroute_filtered=True) is Remedy.ELSEWHERE
    assert remedy(rejected("invalid_request"), reroute_filtered=True) is Remedy.TELL


def test_what_may_have_been_billed_is_asked_for_once_more_and_anything_else_twice() -> None:
    assert retries(ProviderTruncated()) == retries(ProviderHungUp()) == 1
    assert retries(ProviderError(status=500)) == retries(ProviderUnreachable()) == 2


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_pause_is_anything_up_to_a_bound_that_doubles_and_is_itself_bounded(draw: float, again: int) -> None:
    seconds = pause(ProviderError(), again, Pauses(first=0.2, longest=2.0), draw)

    assert seconds is not None
    assert 0 <= seconds <= min(0.2 * 2 ** (again - 1), 2.0)


@given(st.floats(0, 300), st.floats(0, 1))
def test_what_the_provider_asks_for_is_waited_or_not_waited_for_at_all(wait: float, draw: float) -> None:
    seconds = pause(ProviderRateLimited(retry_after=wait), 1, Pauses(asked=2.0), draw)

    if wait > 2.0:
        assert seconds is None
    else:
        assert seconds is not None
        assert seconds >= wait


@pytest.mark.parametrize(
    ("retrying", "active", "allowed"),
    [(0, 1, True), (2, 1, True), (3, 1, False), (3, 15, False), (3, 16, True), (19, 100, True), (20, 100, False)],
)
def test_retries_are_a_fifth_of_what_is_under_way_but_a_few_may_always_be(
    retrying: int, active: int, allowed: bool
) -> None:
    assert may_retry(retrying, active) is allowed
