"""Every metric that is counted as facts come in, with its labels; ``docs/monitoring.md`` explains each."""

from adapters.metrics.tables import Counts, Spread

_RUN = ("provider", "model")

#: In seconds. A refusal takes a millisecond, an answer up to minutes.
_ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: As the GenAI conventions of OpenTelemetry advise for first tokens and for those that follow.
_FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
_QUEUE = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_REDIS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Families:
    """The tables of one process; with ``tenants``, what tenants are billed for has a label for them, too."""

    def __init__(self, *, tenants: bool = False) -> None:
        self.tenants = tenants
        run = (*_RUN, "tenant") if tenants else _RUN
        own = ("tenant",) if tenants else ()

        self.requests = Counts("sluice_http_requests_total", "HTTP requests answered", ("method", "route", "status"))
        self.request_seconds = Spread(
            "sluice_http_request_duration_seconds",
            "Time until an HTTP request had its whole answer, streams included",
            ("route",),
            _ANSWER,
        )
        self.refusals = Counts(
            "sluice_refusals_total", "HTTP requests that ended with an error, by its code", ("code", *own)
        )
        self.asked = Counts("sluice_completions_requested_total", "Completions asked for by a known tenant", own)

        self.runs = Counts("sluice_runs_total", "Runs that ended, by their last state", (*_RUN, "status", *own))
        self.failures = Counts("sluice_run_failures_total", "Runs that failed, by error code", ("provider", "code"))
        self.skipped = Counts(
            "sluice_provider_events_skipped_total", "Malformed events of streams that went on", ("provider",)
        )
        self.run_seconds = Spread(
            "sluice_run_duration_seconds", "Time from the last attempt's begin to the run's end", _RUN, _ANSWER
        )
        self.first_token = Spread(
            "sluice_time_to_first_token_seconds",
            "Time from the attempt's begin to the first token of a stream",
            _RUN,
            _FIRST_TOKEN,
        )
        self.per_token = Spread(
            "sluice_time_between_tokens_seconds", "Average time between two tokens of a stream", _RUN, _TOKEN
        )
        self.queue_seconds = Spread(
            "sluice_queue_wait_seconds", "Time for which a job waited until its last attempt", (), _QUEUE
        )
        self.provider_requests = Counts(
            "sluice_provider_requests_total", "Requests to providers, by outcome", (*_RUN, "outcome")
        )
        self.provider_seconds = Spread(
            "sluice_provider_request_duration_seconds", "Time that requests to providers took", _RUN, _ANSWER
        )
        self.provider_retries = Counts(
            "sluice_provider_retries_total", "Requests to providers that were not a run's first", _RUN
        )
        self.continuations = Counts(
            "sluice_continuations_total", "Streams that another request to a provider went on with", ("how",)
        )
        self.target_changes = Counts(
            "sluice_target_changes_total", "Changes of the state of a target", ("provider", "state")
        )
        self.tokens = Counts("sluice_tokens_total", "Tokens of runs, by kind", (*_RUN, "kind", *own))
        self.cached = Counts("sluice_cached_prompt_tokens_total", "Prompt tokens that a provider had cached", run)
        self.reasoning = Counts("sluice_reasoning_tokens_total", "Completion tokens spent on reasoning", run)
        self.charged = Counts("sluice_charged_tokens_total", "Tokens taken from balances", run)

        self.administered = Counts("sluice_admin_changes_total", "Changes that operators made", ("action",))
        self.joined = Counts("sluice_runs_joined_total", "Requests that got the answer of an earlier one", ("how",))
        self.resumed = Counts("sluice_streams_resumed_total", "Readers that came back to a stream")
        self.requeued = Counts("sluice_runs_requeued_total", "Attempts after which a run waits for another", ("why",))
        self.leases_lost = Counts("sluice_leases_lost_total", "Runs that another process took from this one")
        self.limits_local = Counts(
            "sluice_limits_local_total", "Times that limits of a tenant became this replica's own"
        )
        self.settlements_failed = Counts(
            "sluice_settlements_failed_total", "Settlements that could neither be told nor written down"
        )
        self.records_failed = Counts("sluice_records_failed_total", "Ends of runs that could not be recorded")
        self.secrets_unreadable = Counts(
            "sluice_secrets_unreadable_total", "Times that a tenant's sealed secrets could not be opened", ("why",)
        )
        self.defects = Counts("sluice_defects_total", "Errors that nobody expected, by where they were", ("where",))
        self.redis_seconds = Spread(
            "sluice_redis_request_duration_seconds", "Time until Redis answered, or did not", ("command",), _REDIS
        )
        self.redis_failures = Counts("sluice_redis_failures_total", "Requests that Redis did not answer", ("command",))
        self.loop_lag = Spread(
            "sluice_event_loop_lag_seconds", "How late the event loop came to what was due", (), _LAG
        )

    @property
    def tables(self) -> tuple[Counts | Spread, ...]:
        return tuple(each for each in vars(self).values() if isinstance(each, Counts | Spread))
