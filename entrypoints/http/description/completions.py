"""The operations of the three surfaces and those around them, as ``app.py`` routes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.chat import JsonObject
from entrypoints.http.description import answers
from entrypoints.http.description.document import Operation, Parameter, Reply, document
from entrypoints.http.headers import MAX_WAIT
from entrypoints.http.schema import ChatCompletionRequest, GatewayRequest

_SAYS = """One request schema, three surfaces. On `/v1` the tenant is in a header and the group in the body; on
`/{scope}/v1` the scope is a provider where one is registered under that id, else a tenant. Provider surfaces are
OpenAI's API to the letter. A stream can be read again from any event, on any replica."""

_GROUP, _SCOPED, _OPS = "group surface", "tenant and provider surface", "operations"
_TAGS = {
    _GROUP: "The tenant in a header, the group in the body; jobs for those who do not stream.",
    _SCOPED: "The tenant or the provider in the path.",
    _OPS: "For whoever runs it.",
}

_TEXT: JsonObject = {"type": "string"}
_ID: JsonObject = {"type": "string", "pattern": "^[A-Za-z0-9._@-]{1,128}$"}
_TENANT = Parameter("X-Tenant-Id", "header", "The tenant.", _ID, required=True)
_TENANT_OF_SEVERAL = Parameter(
    "X-Tenant-Id", "header", "Provider surface: which of the token's tenants, where it has several.", _ID
)
_SCOPE = Parameter("scope", "path", "A provider's id, else a tenant's.", _ID)
_RUN = Parameter("run_id", "path", "A run's id, or a conversation's for its latest run.", _ID)
_MODEL = Parameter("name", "path", "The catalogue's name of a model, or its provider's; it may hold slashes.", _TEXT)
_REQUEST_ID = Parameter("X-Request-Id", "header", "Kept, sent back and logged, where it can be.", _TEXT)
_PREFER = Parameter(
    "Prefer", "header", f"`wait=N`: wait up to N seconds, {MAX_WAIT} at most; `respond-async`: make it a job.", _TEXT
)
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes this request the same as an earlier one of its user with the same key and body.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_CURSOR = Parameter("Last-Event-ID", "header", "The id of the last event that was seen of a stream.", _TEXT)
_STREAM = Parameter("stream", "query", "`true`: the stream in place of the state.", {"type": "string"})
_AFTER = Parameter("starting_after", "query", "The id or number of the last event that was seen.", _TEXT)

_ABOUT = {"X-Request-Id": "Names this exchange in the log.", "X-Completion-Id": "The run's id."}
_PAID = {**_ABOUT, "X-Sluice-Charged-Tokens": "What the run has cost, in tokens of the balance."}
_EVENTS = ("text/event-stream",)


class GroupRequest(GatewayRequest):
    """A request on the group surface, which cannot be without its group."""

    group_id: str


class ProviderRequest(ChatCompletionRequest):
    """A request on a provider surface, which cannot be without its model."""

    model: str


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a surface is described: where it is, who is told what."""

    tag: str
    prefix: str
    name: str
    bodies: tuple[type[ChatCompletionRequest], ...]
    example: JsonObject
    errors: tuple[type[answers.Error] | type[answers.PlainError], ...]
    who: tuple[Parameter, ...]
    accepted: int
    optional: bool

    def refusals(self, *statuses: int) -> Mapping[int, Reply]:
        """Replies with an error, those that any request may meet among them."""
        common = (400, 401, 403, 404, 429, 500, 503)
        told = Reply("The request was not served.", self.errors, headers={"X-Error-Code": "Says why, in one word."})
        return dict.fromkeys(sorted({*common, *statuses}), told)


_HELLO: JsonObject = {"messages": [{"role": "user", "content": "Hello, who are you?"}]}
_DIALECTS = (
    _Dialect(
        _GROUP,
        "",
        "",
        (GroupRequest,),
        {"group_id": "anonymous", **_HELLO},
        (answers.PlainError,),
        (_TENANT,),
        200,
        optional=True,
    ),
    _Dialect(
        _SCOPED,
        "/{scope}",
        "scoped_",
        (GatewayRequest, ProviderRequest),
        _HELLO,
        (answers.Error, answers.PlainError),
        (_SCOPE, _TENANT_OF_SEVERAL),
        202,
        optional=False,
    ),
)


def describe(version: str) -> JsonObject:
    """The OpenAPI document of the port that applications use."""
    operations = [operation for dialect in _DIALECTS for operation in (*_runs(dialect), *_models(dialect))]
    return document("Sluice", version, _SAYS, _TAGS, [*operations, *_operations()])


def _runs(at: _Dialect) -> Sequence[Operation]:
    root = f"{at.prefix}/v1/chat/completions"
    return (
        Operation(
            "POST", root, f"{at.name}create", at.tag, "Ask for a completion",
            {**_created(at), **at.refusals(409, 410, 413, 415, 422, 502, 504)},
            parameters=(*at.who, _PREFER, _KEY, _CURSOR, _REQUEST_ID), bodies=at.bodies, example=at.example,
            optional=at.optional,
        ),
        Operation(
            "GET", f"{root}/{{run_id}}", f"{at.name}fetch", at.tag, "Fetch a run, or its stream",
            {
                200: Reply("The run as it stands, or its stream.", (answers.RunState,), _EVENTS, _PAID),
                204: Reply("The reader has seen the whole stream."),
                **at.refusals(409, 410, 502, 504),
            },
            parameters=(*at.who, _RUN, _STREAM, _AFTER, _CURSOR, _PREFER, _REQUEST_ID), optional=at.optional,
        ),
        Operation(
            "POST", f"{root}/{{run_id}}/cancel", f"{at.name}cancel", at.tag, "Stop a run",
            {200: Reply("The run as it stands.", (answers.RunState,), headers=_PAID), **at.refusals(409)},
            says="What it has said until then is paid for. A run that has ended stays as it is.",
            parameters=(*at.who, _RUN, _REQUEST_ID), optional=at.optional,
        ),
    )  # fmt: skip


def _created(at: _Dialect) -> Mapping[int, Reply]:
    run = {"run_id": "$response.header.X-Completion-Id"}
    links = {f"{at.name}fetch": run, f"{at.name}cancel": run}
    if at.accepted == 200:
        says = "A job; with `Prefer: wait=N` the completion; with `stream` the stream."
        return {200: Reply(says, (answers.Job, answers.Completion), _EVENTS, _PAID, links), 204: _SEEN}
    return {
        200: Reply("The completion, or its stream.", (answers.Completion,), _EVENTS, _PAID, links),
        202: Reply("A job, where one was preferred.", (answers.Job,), (), _ABOUT, links),
        204: _SEEN,
    }


_SEEN = Reply("With `Last-Event-ID`: the reader has seen the whole stream.")


def _models(at: _Dialect) -> Sequence[Operation]:
    root = f"{at.prefix}/v1/models"
    return (
        Operation(
            "GET", root, f"{at.name}models", at.tag, "The models that the caller may ask for",
            {200: Reply("The models.", (answers.ModelList,)), **at.refusals()},
            parameters=(*at.who, _REQUEST_ID), optional=at.optional,
        ),
        Operation(
            "GET", f"{root}/{{name}}", f"{at.name}model", at.tag, "One of them",
            {200: Reply("The model.", (answers.Model,)), **at.refusals()},
            parameters=(*at.who, _MODEL, _REQUEST_ID), optional=at.optional,
        ),
    )  # fmt: skip


def _operations() -> Sequence[Operation]:
    metrics = ("text/plain", "application/openmetrics-text")
    return (
        Operation("GET", "/healthz", "healthz", _OPS, "Does the process answer?",
                  {200: Reply("It does.", (answers.Health,))}, open=True),
        Operation("GET", "/readyz", "readyz", _OPS, "May requests be sent here?",
                  {200: Reply("They may.", (answers.Readiness,)), 503: Reply("Not now.", (answers.Readiness,))},
                  open=True),
        Operation("GET", "/metrics", "metrics", _OPS, "Numbers, for Prometheus",
                  {200: Reply("The numbers.", media=metrics)}, open=True),
    )  # fmt: skip
