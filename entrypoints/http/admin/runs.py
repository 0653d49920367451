"""Runs: those that have not ended, any one by its id, and stopping one. Never what they say."""

from dataclasses import dataclass

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.runs import RunAdministration, RunQuery
from domain.chat import JsonObject
from domain.errors import InvalidRequest
from domain.runs import Run, Status
from entrypoints.http.admin.routes import Ask, Route, whole_number

#: What a record has besides: nothing here is content, nor a digest of it.
_SHOWN = (
    "id", "tenant", "group", "user", "provider", "model", "created", "conversation", "attempt", "charged", "live",
    "queued", "cancelling", "followers", "source", "replayed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runs:
    """Handlers of ``/runs``."""

    runs: RunAdministration

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                "/runs",
                Access.READ,
                self.list,
                "Runs that have not ended, oldest first; or a conversation's latest.",
            ),
            Route("GET", "/runs/{run_id}", Access.READ, self.show, "One run, without its content."),
            Route(
                "POST", "/runs/{run_id}/cancel", Access.CHANGE, self.cancel, "Stop a run; what it has said is paid for."
            ),
        )

    async def list(self, ask: Ask) -> HTTPResponse:
        given = ask.query("tenant", "group", "user", "provider", "status", "limit", "conversation")
        if "conversation" in given:
            latest = await self.runs.latest(given.get("tenant", ""), given.get("user", ""), given["conversation"])
            return ask.answer({"data": [shown(latest)]})
        query = RunQuery(
            given.get("tenant"),
            given.get("group"),
            given.get("user"),
            given.get("provider"),
            _status(given.get("status")),
        )
        found = await self.runs.unfinished(query, whole_number(given, "limit", default=100, most=1_000))
        return ask.answer({"data": [shown(run) for run in found]})

    async def show(self, ask: Ask) -> HTTPResponse:
        return ask.answer(shown(await self.runs.show(ask.parts["run_id"])))

    async def cancel(self, ask: Ask) -> HTTPResponse:
        return ask.answer(shown(await self.runs.cancel(ask.operator, ask.parts["run_id"])))


def shown(run: Run) -> JsonObject:
    """A run as operators see it."""
    usage = run.usage and {
        "prompt_tokens": run.usage.prompt_tokens,
        "completion_tokens": run.usage.completion_tokens,
    }
    error = run.error and {"code": run.error.code, "kind": run.error.kind}
    facts = {name: getattr(run, name) for name in _SHOWN}
    return {**facts, "status": run.status.value, "events": run.tail, "usage": usage, "error": error}


def _status(given: str | None) -> Status | None:
    try:
        return Status(given) if given is not None else None
    except ValueError:
        raise InvalidRequest("'status' is none of a run's.", param="status", code="invalid_value") from None
