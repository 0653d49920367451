"""Domain values with sensible defaults: a test names what it is about and leaves the rest alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from domain.chat import ChatRequest, Chunk, Completion, JsonObject, Usage
from domain.completions.orders import Order
from domain.models import Catalogue, Model
from domain.ports import Account
from domain.providers import Planner, ProviderRegistry, ProviderSpec, Target
from domain.rate import Allowance, Charge
from domain.runs import Run
from domain.tenants import Caller, Group, Limits, Principal, Tenant

#: The moment at which tests begin, in Unix seconds.
NOW = 1_750_000_000.0
RUN_ID = "chatcmpl-01JXT21Q0000000000000000G0"


# --- the catalogue and the providers ------------------------------------------------------------------------------


def a_model(**changes: Any) -> Model:
    plain = Model("gpt-4o", context_window=1_000, max_output_tokens=100, names={"openai": "gpt-4o"})
    return replace(plain, **changes)


def a_provider(**changes: Any) -> ProviderSpec:
    return replace(ProviderSpec("openai", "OpenAI", "https://api.openai.com/v1"), **changes)


def a_planner(providers: Sequence[ProviderSpec] = (), models: Sequence[Model] = ()) -> Planner:
    known = {spec.id: spec for spec in providers or (a_provider(),)}
    return Planner(ProviderRegistry(known), Catalogue(models or (a_model(),)))


def a_target(**changes: Any) -> Target:
    plain = Target(a_provider(), a_model(), "gpt-4o", base_url="https://api.openai.com/v1", key="sk-acme")
    return replace(plain, **changes)


# --- tenants and callers --------------------------------------------------------------------------------------------


def a_tenant(**changes: Any) -> Tenant:
    plain = Tenant(
        "acme",
        groups={"staff": Group("staff", initial_tokens=1_000), "anonymous": Group("anonymous", initial_tokens=100)},
        api_keys={"openai": ("sk-acme",)},
        default_provider="openai",
        default_model="gpt-4o",
        default_group="staff",
    )
    return replace(plain, **changes)


def a_tenant_document(**changes: Any) -> JsonObject:
    """A tenant as an operator writes it; ``a_tenant`` is what becomes of it."""
    return {
        "user_groups": ["staff", "anonymous"],
        "groups": {"staff": {"initial_tokens": 1_000}, "anonymous": {"initial_tokens": 100}},
        "api_keys": {"openai": "sk-acme"},
        "default": "openai",
        "default_model": "gpt-4o",
        "default_group": "staff",
        **changes,
    }


def limits(requests: int | None = None, tokens: int | None = None) -> Limits:
    return Limits(requests_per_minute=requests, tokens_per_minute=tokens)


def a_principal(user: str = "ann", **changes: Any) -> Principal:
    return replace(Principal(user, frozenset({"acme"})), **changes)


def a_caller(tenant: Tenant | None = None, **changes: Any) -> Caller:
    return replace(Caller(tenant or a_tenant(), "staff", "ann"), **changes)


def an_account(**changes: Any) -> Account:
    return replace(Account("acme", "staff", "ann"), **changes)


def a_charge(cost: int = 1, *, limit: int = 10, window: float = 60.0, meter: str = "rpm") -> Charge:
    return Charge(meter, {"rpm": "requests", "tpm": "tokens"}.get(meter, meter), Allowance(limit, window), cost)


# --- requests -------------------------------------------------------------------------------------------------------


def user(content: object) -> JsonObject:
    return {"role": "user", "content": content}


def assistant(content: object = None, **more: object) -> JsonObject:
    return {"role": "assistant", "content": content, **more}


def a_call(call_id: str = "call_1", name: str = "weather", arguments: str = "{}") -> JsonObject:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def a_tool_answer(call_id: str = "call_1", content: str = "sunny") -> JsonObject:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def a_request(
    *messages: JsonObject, model: str | None = "gpt-4o", more: Mapping[str, Any] | None = None, **changes: Any
) -> ChatRequest:
    """A request; ``more`` are further fields of its body."""
    said = list(messages or (user("Hi"),))
    return replace(ChatRequest(said, {"messages": said, **(more or {})}, model), **changes)


def an_order(run_id: str = RUN_ID, *, live: bool = True, **changes: Any) -> Order:
    return replace(Order(run_id, request_id="req-1", live=live), **changes)


# --- answers --------------------------------------------------------------------------------------------------------


def a_chunk(
    content: str | None = None,
    *,
    index: int = 0,
    delta: JsonObject | None = None,
    logprobs: JsonObject | None = None,
    finish: str | None = None,
    usage: Usage | None = None,
    model: str | None = "gpt-4o-2024-08-06",
    **extras: Any,
) -> Chunk:
    """A chunk of one choice, as an adapter makes it."""
    said = delta if delta is not None else ({} if content is None else {"content": content})
    choice = {"index": index, "delta": said, "logprobs": logprobs, "finish_reason": finish}
    return as_chunk({"choices": [choice], **extras}, usage, model)


def a_usage_chunk(usage: Usage, **extras: Any) -> Chunk:
    """The last chunk of a stream: no choices, only usage."""
    return as_chunk({"choices": [], **extras}, usage)


def as_chunk(body: JsonObject, usage: Usage | None = None, model: str | None = None) -> Chunk:
    named = {"model": model} if model is not None else {}
    return Chunk(body, json.dumps({**named, **body}).encode(), usage, model)


def a_stream(*words: str, usage: Usage | None = None) -> tuple[Chunk, ...]:
    """The chunks of a whole answer: role, words, finish, and usage where it is given."""
    opening = a_chunk(delta={"role": "assistant", "content": ""})
    said = (opening, *(a_chunk(word) for word in words), a_chunk(finish="stop"))
    return said if usage is None else (*said, a_usage_chunk(usage))


def a_choice(content: str | None = "Hello", *, index: int = 0, finish: str | None = "stop", **more: Any) -> JsonObject:
    """A choice of a whole answer; ``more`` goes into its message."""
    message = {"role": "assistant", "content": content, "refusal": None, **more}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def a_completion(
    *choices: JsonObject, usage: Usage | None = None, model: str | None = None, **extras: Any
) -> Completion:
    return Completion({"choices": list(choices or (a_choice(),)), **extras}, usage, model)


# --- runs -----------------------------------------------------------------------------------------------------------


def a_run(**changes: Any) -> Run:
    plain = Run(
        id=RUN_ID,
        tenant="acme",
        group="staff",
        user="ann",
        answer_id=RUN_ID,
        provider="openai",
        model="gpt-4o",
        created=int(NOW),
    )
    return replace(plain, **changes)
