"""Every refusal and failure that a caller can meet, with its facts.

A class says what went wrong; ``kind`` says of which sort it is. Nothing here knows a status or a body: one table
in ``entrypoints/http/errors.py`` turns a kind into both, for each surface.
"""

from enum import Enum, auto

from domain.rate import Verdict


class Kind(Enum):
    """The sorts of refusal and failure, as finely as a caller can act on them."""

    INVALID = auto()
    """The request is malformed or breaks a rule; sending it again unchanged is useless."""
    MISPLACED = auto()
    """A cursor or a header that cannot be: nothing is wrong with any body."""
    MISMATCHED = auto()
    """The request names a run that was asked for with another body."""
    UNSUPPORTED_MODEL = auto()
    TOO_LONG = auto()
    """The prompt, or prompt and answer together, do not fit the model's context window."""
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    CONFLICT = auto()
    CHANGED = auto()
    """What was to be changed is not what its sender has seen."""
    GONE = auto()
    RATE_LIMITED = auto()
    OUT_OF_TOKENS = auto()
    PROVIDER_REJECTED = auto()
    """The provider refused the request for a reason that is the caller's business."""
    PROVIDER_LIMITED = auto()
    PROVIDER_FAILED = auto()
    PROVIDER_TIMED_OUT = auto()
    INTERRUPTED = auto()
    """The generation ended early, on our side: a restart or a shutdown."""
    UNAVAILABLE = auto()
    INTERNAL = auto()


class SluiceError(Exception):
    """What a caller is told: one sentence, a stable code and, where one field is to blame, its name."""

    kind: Kind = Kind.INTERNAL
    code: str = "internal_error"
    param: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# --- the request itself -------------------------------------------------------------------------------------------


class InvalidRequest(SluiceError):
    """The body or a header is not what the surface takes. Codes are OpenAI's (``missing_required_parameter``, ...)."""

    kind = Kind.INVALID

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class InvalidGroup(SluiceError):
    kind = Kind.INVALID
    code = "invalid_group_id"
    param = "group_id"

    def __init__(self) -> None:
        super().__init__("Invalid group_id")


class ModelNotSupported(SluiceError):
    kind = Kind.UNSUPPORTED_MODEL
    code = "model_not_found"
    param = "model"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model '{model}' does not exist or you do not have access to it.")
        self.model = model


class ContextLengthExceeded(SluiceError):
    """The numbers are in the message, in OpenAI's words, since clients parse them."""

    kind = Kind.TOO_LONG
    code = "context_length_exceeded"
    param = "messages"

    def __init__(self, *, window: int, prompt_tokens: int, completion_tokens: int) -> None:
        asked = f"However, your messages resulted in {prompt_tokens} tokens."
        if completion_tokens:
            asked = (
                f"However, you requested {prompt_tokens + completion_tokens} tokens "
                f"({prompt_tokens} in the messages, {completion_tokens} in the completion)."
            )
        super().__init__(
            f"This model's maximum context length is {window} tokens. {asked} "
            "Please reduce the length of the messages or completion."
        )
        self.window = window
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens


# --- who is calling, and what of --------------------------------------------------------------------------------


class NotAuthenticated(SluiceError):
    """No usable bearer token. ``reason`` is RFC 6750's ``error`` value, absent where no token was given."""

    kind = Kind.UNAUTHENTICATED
    code = "invalid_api_key"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class AmbiguousToken(SluiceError):
    """More than one bearer token: which of them is meant cannot be told. ``reason`` is RFC 6750's ``error`` value."""

    kind = Kind.MISPLACED
    code = "ambiguous_token"
    reason = "invalid_request"

    def __init__(self) -> None:
        super().__init__("The request has more than one bearer token.")


class InsufficientScope(SluiceError):
    """The token is good, and is not for this. ``scope`` is what it would need."""

    kind = Kind.FORBIDDEN
    code = "insufficient_scope"
    reason = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Your token is not for this; it would need the scope {scope}.")
        self.scope = scope


class TenantForbidden(SluiceError):
    kind = Kind.FORBIDDEN
    code = "tenant_forbidden"

    def __init__(self, message: str = "Your token does not give access to this tenant.") -> None:
        super().__init__(message)


class GroupForbidden(SluiceError):
    kind = Kind.FORBIDDEN
    code = "group_forbidden"
    param = "group_id"

    def __init__(self) -> None:
        super().__init__("Your token does not give access to this group.")


class NoApiKey(SluiceError):
    kind = Kind.FORBIDDEN
    code = "no_api_key"

    def __init__(self, provider_name: str) -> None:
        super().__init__(f"No {provider_name} API key configured")


class UnknownTenant(SluiceError):
    kind = Kind.NOT_FOUND
    code = "tenant_not_found"

    def __init__(self) -> None:
        super().__init__("Unknown tenant")


class UnknownNamespace(SluiceError):
    """The first segment of the path is neither a provider's id nor a tenant's."""

    kind = Kind.NOT_FOUND
    code = "unknown_namespace"

    def __init__(self) -> None:
        super().__init__("Unknown provider or tenant")


class UnknownApiKey(SluiceError):
    """No such key in this tenant, whether or not another has it."""

    kind = Kind.NOT_FOUND
    code = "api_key_not_found"

    def __init__(self) -> None:
        super().__init__("No such API key")


class TooManyApiKeys(SluiceError):
    kind = Kind.CONFLICT
    code = "too_many_api_keys"

    def __init__(self, most: int) -> None:
        super().__init__(f"The tenant has {most} API keys already.")


class UnknownCompletion(SluiceError):
    """No such run, or another's: the two are told apart nowhere."""

    kind = Kind.NOT_FOUND
    code = "completion_not_found"

    def __init__(self) -> None:
        super().__init__("No such completion")


# --- a cursor into a run's log --------------------------------------------------------------------------------


class InvalidCursor(SluiceError):
    kind = Kind.MISPLACED
    code = "invalid_cursor"
    param = "starting_after"

    def __init__(self, message: str = "The cursor is not one of this stream.") -> None:
        super().__init__(message)


class GenerationRestarted(SluiceError):
    kind = Kind.CONFLICT
    code = "generation_restarted"

    def __init__(self) -> None:
        super().__init__("The generation was started again; what you have belongs to an earlier attempt.")


class CursorAhead(SluiceError):
    kind = Kind.CONFLICT
    code = "cursor_ahead"

    def __init__(self) -> None:
        super().__init__("The cursor is ahead of the stream.")


class UnknownTarget(SluiceError):
    """No such target, as far as the replica that is asked knows."""

    kind = Kind.NOT_FOUND
    code = "target_not_found"

    def __init__(self) -> None:
        super().__init__("This replica has asked no such target.")


class StreamExpired(SluiceError):
    kind = Kind.GONE
    code = "stream_expired"

    def __init__(self) -> None:
        super().__init__("The stream is no longer kept; the result may be.")


# --- runs that somebody else began, or ended ----------------------------------------------------------------------


class InvalidIdempotencyKey(SluiceError):
    kind = Kind.MISPLACED
    code = "invalid_idempotency_key"

    def __init__(self) -> None:
        super().__init__("An Idempotency-Key has 1 to 255 printable ASCII characters.")


class IdempotencyKeyReused(SluiceError):
    kind = Kind.MISMATCHED
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another request.")


class StreamMismatch(SluiceError):
    kind = Kind.MISMATCHED
    code = "stream_mismatch"

    def __init__(self) -> None:
        super().__init__("The stream that Last-Event-ID names answers another request.")


class CompletionCancelled(SluiceError):
    """Not a conflict: the OpenAI clients repeat a request that met one."""

    kind = Kind.GONE
    code = "completion_cancelled"

    def __init__(self) -> None:
        super().__init__("The completion was cancelled.")


class CompletionShared(SluiceError):
    kind = Kind.CONFLICT
    code = "completion_shared"

    def __init__(self) -> None:
        super().__init__("Others wait for the same answer, so it goes on.")


# --- what it may cost -------------------------------------------------------------------------------------------


class RateLimited(SluiceError):
    kind = Kind.RATE_LIMITED
    code = "rate_limit_exceeded"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("Rate limit exceeded")
        self.verdict = verdict


class InsufficientTokens(SluiceError):
    """``available`` is in tokens: the balance less its open holds; it can be negative."""

    kind = Kind.OUT_OF_TOKENS
    code = "insufficient_quota"

    def __init__(self, available: int) -> None:
        super().__init__("Insufficient tokens")
        self.available = available


class DailyTokensSpent(SluiceError):
    """The day's budget of the user, or of a group that anybody can be in, is spent. ``retry_after`` is in seconds."""

    kind = Kind.OUT_OF_TOKENS
    code = "daily_tokens_spent"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("Insufficient tokens")
        self.retry_after = verdict.retry_after


class OperationConflict(SluiceError):
    """An operation of the ledger was carried out before with another amount."""

    kind = Kind.CONFLICT
    code = "operation_conflict"

    def __init__(self) -> None:
        super().__init__("This operation was carried out before, with another amount.")


class BalanceTooLarge(SluiceError):
    """A grant would make a balance larger than any that can be kept exactly; nothing was changed."""

    kind = Kind.INVALID
    code = "balance_too_large"
    param = "amount"

    def __init__(self) -> None:
        super().__init__("The balance would be larger than 9007199254740991 tokens.")


# --- providers ----------------------------------------------------------------------------------------------------


class ProviderError(SluiceError):
    """A provider did not answer as it should. The message is for the caller; ``detail`` is for the log.

    ``detail`` is made of our own words and a status at most, never of the provider's body: bodies echo prompts.
    ``status`` is that of its answer, None where there was none; ``wait`` how many seconds it asks to be left alone.
    """

    kind = Kind.PROVIDER_FAILED
    code = "provider_error"

    def __init__(
        self,
        message: str = "The provider failed to answer.",
        *,
        detail: str = "",
        status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.detail = detail
        self.status = status
        self.wait = wait


class ProviderUnreachable(ProviderError):
    code = "upstream_unreachable"

    def __init__(self, *, detail: str = "") -> None:
        super().__init__("The provider could not be reached.", detail=detail)


class ProviderTimeout(ProviderError):
    kind = Kind.PROVIDER_TIMED_OUT
    code = "upstream_timeout"

    def __init__(self, *, detail: str = "", status: int | None = None, wait: float | None = None) -> None:
        super().__init__("The provider did not answer in time.", detail=detail, status=status, wait=wait)


class ProviderBadResponse(ProviderError):
    """Not an answer in OpenAI's format: HTML, an empty body, malformed JSON."""

    code = "upstream_bad_response"

    def __init__(self, *, detail: str = "", status: int | None = None) -> None:
        super().__init__("The provider gave an answer that cannot be understood.", detail=detail, status=status)


class ProviderRedirected(ProviderBadResponse):
    """A redirect, which is not followed: the request and its key are for the address that they were meant for."""

    code = "upstream_redirect"


class ProviderTruncated(ProviderError):
    """The answer was cut: what was received is not the whole of it."""

    code = "upstream_truncated"

    def __init__(self, *, detail: str = "") -> None:
        super().__init__("The provider's answer was cut off.", detail=detail)


class ProviderHungUp(ProviderTruncated):
    """A connection that was kept ended just as it was used again: the provider has most likely not seen the request."""


class ProviderRefusedKey(ProviderError):
    """401 or 403 from the provider: the tenant's provider key is at fault, never the caller's token."""

    code = "upstream_refused_key"

    def __init__(self, *, status: int) -> None:
        super().__init__("The provider refused the configured API key.", status=status)


class ProviderRejected(ProviderError):
    """The provider refused the request, for a reason that the caller can mend; the reason is passed on."""

    kind = Kind.PROVIDER_REJECTED

    def __init__(self, message: str, *, code: str | None, param: str | None, status: int) -> None:
        super().__init__(message, status=status)
        self.code = code or "invalid_request"
        self.param = param


class ProviderRateLimited(ProviderError):
    """429 from the provider. ``retry_after`` is in seconds, bounded, None where it named no usable value."""

    kind = Kind.PROVIDER_LIMITED
    code = "rate_limit_exceeded"

    def __init__(self, *, retry_after: float | None, status: int = 429) -> None:
        super().__init__("The provider's rate limit is exceeded.", status=status, wait=retry_after)
        self.retry_after = retry_after


class ProviderOutOfQuota(ProviderError):
    """The tenant's account with the provider is spent: waiting does not help, so it is no rate limit."""

    code = "upstream_quota_exhausted"

    def __init__(self, *, status: int = 429) -> None:
        super().__init__("The account with the provider has no quota left.", status=status)


# --- our own house ----------------------------------------------------------------------------------------------


class RunFailed(SluiceError):
    """The failure of a run, told again to a reader who was not there: the same kind, code and sentence."""

    def __init__(
        self, message: str, *, kind: Kind, code: str, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after = retry_after


class GenerationInterrupted(SluiceError):
    kind = Kind.INTERRUPTED
    code = "generation_interrupted"

    def __init__(self) -> None:
        super().__init__("The generation was interrupted before it was complete.")


class WorkerLost(SluiceError):
    kind = Kind.INTERRUPTED
    code = "worker_lost"

    def __init__(self) -> None:
        super().__init__("The completion was begun several times, and each time its worker went away.")


class OutputTooLarge(SluiceError):
    kind = Kind.PROVIDER_FAILED
    code = "output_too_large"

    def __init__(self) -> None:
        super().__init__("The answer is larger than this gateway keeps.")


class Unavailable(SluiceError):
    """Something that the request needs does not answer now. ``retry_after`` is in seconds."""

    kind = Kind.UNAVAILABLE
    code = "service_unavailable"

    def __init__(self, message: str = "The service is temporarily unavailable.", *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The store did not answer in time, or not usably. Nothing can be said of whether the last write took place."""


class OutboxFailed(Unavailable):
    """What a run cost can neither be told to the ledger nor be written down here."""


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be had, so no token of it can be judged."""


class TenantMisconfigured(Unavailable):
    """The tenant's stored document cannot be read; only its operator can mend that."""

    code = "tenant_misconfigured"

    def __init__(self) -> None:
        super().__init__("The tenant's configuration cannot be read.", retry_after=30)


class ProviderBusy(Unavailable):
    """As many requests are at the provider as this gateway lets be there, and as many wait as may."""

    code = "provider_busy"

    def __init__(self) -> None:
        super().__init__("Too many completions are under way at the provider.", retry_after=1)


class QueueFull(Unavailable):
    code = "queue_full"

    def __init__(self) -> None:
        super().__init__("Too many completions are waiting.", retry_after=5)


class QueueTimeout(Unavailable):
    code = "queue_timeout"

    def __init__(self) -> None:
        super().__init__("The completion waited too long for its turn.", retry_after=5)


class ShuttingDown(Unavailable):
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("This replica is shutting down.")


class InternalError(SluiceError):
    def __init__(self) -> None:
        super().__init__("The server had an error while processing your request.")


class Unfit(RuntimeError):
    """Something that this process depends on is such that it must not start: one sentence. No caller ever meets it."""
