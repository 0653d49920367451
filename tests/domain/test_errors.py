"""What callers are told: the sentences that the seeds prescribe, and that every failure can be told again."""

import pytest

from domain.errors import (
    ContextLengthExceeded,
    GroupForbidden,
    InsufficientTokens,
    InvalidGroup,
    Kind,
    NoApiKey,
    ProviderOutOfQuota,
    ProviderRateLimited,
    ProviderRejected,
    QueueFull,
    RateLimited,
    SluiceError,
    TenantMisconfigured,
    UnknownTenant,
)
from domain.rate import Verdict
from domain.runs import RunError


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InvalidGroup(), Kind.INVALID, "Invalid group_id"),
        (NoApiKey("OpenAI"), Kind.FORBIDDEN, "No OpenAI API key configured"),
        (InsufficientTokens(-7), Kind.OUT_OF_TOKENS, "Insufficient tokens"),
        (RateLimited(Verdict(False)), Kind.RATE_LIMITED, "Rate limit exceeded"),
        (UnknownTenant(), Kind.NOT_FOUND, "Unknown tenant"),
    ],
)
def test_a_refusal_is_told_in_the_words_that_were_agreed_on(error: SluiceError, kind: Kind, message: str) -> None:
    assert (error.kind, error.message, str(error)) == (kind, message, message)


@pytest.mark.parametrize(
    "error",
    [
        GroupForbidden(),
        ContextLengthExceeded(window=8, prompt_tokens=9, completion_tokens=0),
        ProviderRejected("No.", code=None, param="n", status=400),
        ProviderRateLimited(retry_after=None),
        ProviderOutOfQuota(),
        QueueFull(),
        TenantMisconfigured(),
    ],
)
def test_every_failure_is_told_again_with_its_kind_code_field_and_time(error: SluiceError) -> None:
    again = RunError.of(error).as_exception()

    assert (again.kind, again.code, again.message, again.param) == (error.kind, error.code, error.message, error.param)
    assert again.retry_after == getattr(error, "retry_after", None)


def test_a_provider_that_refuses_without_a_code_gets_one() -> None:
    assert ProviderRejected("No.", code=None, param=None, status=400).code == "invalid_request"
    assert ProviderRejected("No.", code="too_hot", param=None, status=400).code == "too_hot"


def test_a_providers_refusal_of_quota_is_no_rate_limit() -> None:
    assert ProviderOutOfQuota().kind is not ProviderRateLimited(retry_after=1.0).kind
