"""Traces, as a collector gets them of a replica that is used: who asked whom, and nothing of what was said."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Told
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.http.collector import Collector, attributes, collecting
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import running
from tests.http.surfaces import GROUP, PROVIDER, TENANT
from tests.provider.process import ProviderProcess

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROUTE = "POST /{scope}/v1/chat/completions"
KINDS = Told.SpanKind


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@asynccontextmanager
async def traced(process: ProviderProcess, collector: Collector, **settings: Any) -> AsyncIterator[Member]:
    """A member of a replica that tells its traces; when the block has ended, all of them are told."""
    async with running(process, traces_url=collector.url, **settings) as replica:
        yield Member(replica, await replica.add_tenant())


async def test_a_completion_is_one_trace_from_its_caller_to_its_provider(
    provider: ProviderProcess, collector: Collector
) -> None:
    async with traced(provider, collector) as member:
        answer = await member.post(PROVIDER, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})

    request, admission = collector.named(ROUTE), collector.named("admission")
    run, asked = collector.named("run"), collector.named("chat echo")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert [span.parent_span_id.hex() for span in (request, admission, run, asked)] == [
        CALLER, request.span_id.hex(), request.span_id.hex(), run.span_id.hex(),
    ]  # fmt: skip
    assert [span.kind for span in (request, admission, run, asked)] == [
        KINDS.SPAN_KIND_SERVER, KINDS.SPAN_KIND_INTERNAL, KINDS.SPAN_KIND_INTERNAL, KINDS.SPAN_KIND_CLIENT,
    ]  # fmt: skip
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)
    assert collector.services == {"sluice"}
    told = attributes(run)
    assert (told["gen_ai.provider.name"], told["gen_ai.request.model"]) == ("scripted", "echo")
    assert told["gen_ai.usage.input_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert told["sluice.charged_tokens"] == int(answer.headers["x-sluice-charged-tokens"])
    assert attributes(request)["http.response.status_code"] == 200


async def test_the_provider_is_told_by_which_span_it_is_asked(provider: ProviderProcess, collector: Collector) -> None:
    async with traced(provider, collector) as member:
        await member.post(TENANT)
        (asked,) = provider.requests()

    span = collector.named("chat echo")
    assert asked.headers["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


async def test_a_job_belongs_to_the_trace_of_its_request(provider: ProviderProcess, collector: Collector) -> None:
    async with traced(provider, collector) as member:
        await member.whole(GROUP)

    request, run = collector.named("POST /v1/chat/completions"), collector.named("run")
    assert (run.trace_id, run.parent_span_id) == (request.trace_id, request.span_id)
    assert "sluice.waited_seconds" in attributes(run)


async def test_a_failure_of_ours_is_an_error_and_a_refusal_is_none(
    provider: ProviderProcess, collector: Collector
) -> None:
    async with traced(provider, collector) as member:
        await member.post(PROVIDER, messages=[])
        await member.post(PROVIDER, model="status-500")

    statuses = {attributes(span)["http.response.status_code"]: span.status for span in collector.spans_of(ROUTE)}
    assert {status: told.code for status, told in statuses.items()} == {
        422: Status.STATUS_CODE_UNSET,
        502: Status.STATUS_CODE_ERROR,
    }
    assert collector.named("run").status.message == "provider_error"


@pytest.mark.parametrize(("flags", "share", "told"), [("00", 1.0, 0), ("01", 0.0, 4), (None, 0.0, 0), (None, 1.0, 4)])
async def test_a_caller_decides_about_its_trace_and_the_share_about_others(
    provider: ProviderProcess, collector: Collector, flags: str | None, share: float, told: int
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-{flags}"} if flags else {}
    async with traced(provider, collector, traces_share=share) as member:
        await member.post(TENANT, headers=headers)
        (asked,) = provider.requests()

    assert len(collector.spans) == told
    assert asked.headers["traceparent"].endswith("-01" if told else "-00")


async def test_lines_of_the_log_name_the_trace(provider: ProviderProcess, collector: Collector, json_log: Log) -> None:
    async with traced(provider, collector) as member:
        await member.post(TENANT, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})

    lines = [*json_log.of("Request served"), *json_log.of("Run completed"), *json_log.of("Admission ended")]
    assert [line["trace_id"] for line in lines] == [TRACE] * 3


async def test_nothing_of_what_was_said_is_in_a_span(provider: ProviderProcess, collector: Collector) -> None:
    async with traced(provider, collector) as member:
        await member.post(TENANT, messages=[{"role": "user", "content": "canary-4711"}], user="canary-4712")

    assert collector.spans
    assert "canary" not in " ".join(str(span) for span in collector.spans)


async def test_a_collector_that_is_away_holds_nobody_up(provider: ProviderProcess) -> None:
    async with running(provider, traces_url="http://127.0.0.1:9/v1/traces") as replica:
        member = Member(replica, await replica.add_tenant())
        answer = await member.post(TENANT)

    assert answer.status_code == 200


async def test_without_a_url_no_provider_is_told_of_any_trace(member: Member, provider: ProviderProcess) -> None:
    await member.post(TENANT, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})

    (asked,) = provider.requests()
    assert "traceparent" not in asked.headers


def test_a_name_of_the_conventions_is_theirs() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as genai

    theirs = {value for name, value in vars(genai).items() if name.startswith("GEN_AI_") and isinstance(value, str)}
    source = sys.modules["adapters.spans.drawing"].__file__
    assert source is not None
    with open(source) as file:  # noqa: PTH123 - one read
        ours = {word for word in file.read().split('"') if word.startswith("gen_ai.")}
    assert ours <= theirs
