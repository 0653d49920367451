"""What ``/metrics`` tells of a replica that is used, in a form that Prometheus's own checker takes."""

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from domain.ledger import Account, EntryKind
from tests.http.log import Log
from tests.http.member import Member
from tests.http.replica import Replica, running
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.provider.process import ProviderProcess

RUN = {"provider": "scripted", "model": "other"}


async def samples(replica: Replica) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples of a scrape: by name and labels."""
    answer = await replica.client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def value(replica: Replica, name: str, **labels: str) -> float:
    return (await samples(replica)).get((f"sluice_{name}", frozenset(labels.items())), 0.0)


async def test_promtool_has_nothing_to_complain_of(member: Member) -> None:
    for surface in SURFACES:
        await member.whole(surface)
        await member.stream(surface)
    await member.post(PROVIDER, model="status-500")
    text = (await member.replica.client.get("/metrics")).text

    checked = await asyncio.to_thread(promtool, text)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def promtool(text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)


async def test_a_scrape_is_neither_cached_nor_asked_for_a_token(replica: Replica) -> None:
    answer = await replica.client.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (answer.headers["cache-control"], answer.status_code) == ("no-store", 200)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_usage_header_log_history_and_metric_tell_one_number(
    member: Member, json_log: Log, surface: Surface
) -> None:
    before = await value(member.replica, "charged_tokens_total", **RUN)

    answer = await member.whole(surface, messages=[{"role": "user", "content": "one two three four five"}])

    account = Account(member.tenant, "staff", "ann")
    (settled,) = [e for e in await member.replica.container.ledger().history(account) if e.kind is EntryKind.SETTLE]
    (access,) = [line for line in json_log.of("Request served") if line["tenant"] == member.tenant]
    metric = await value(member.replica, "charged_tokens_total", **RUN) - before
    told = {answer.json()["usage"]["total_tokens"], int(answer.headers["x-sluice-charged-tokens"])}
    assert told | {access["charged_tokens"], settled.amount, metric} == {settled.amount}
    assert settled.amount > 0


async def test_a_fetched_state_tells_that_number_and_counts_it_no_second_time(member: Member) -> None:
    stream = await member.stream(TENANT)
    charged = await value(member.replica, "charged_tokens_total", **RUN)

    state = await member.fetch(TENANT, stream.run_id)

    assert int(state.headers["x-sluice-charged-tokens"]) == state.json()["usage"]["total_tokens"]
    assert await value(member.replica, "charged_tokens_total", **RUN) == charged


async def test_a_kept_answer_that_costs_is_counted_as_charged(process: ProviderProcess) -> None:
    async with running(process) as replica:
        member = Member(replica, await replica.add_tenant(cache_seconds=60, cache_charged=True))
        first = await member.whole(TENANT, cache_key="greeting")
        second = await member.whole(TENANT, cache_key="greeting")

        charged = await value(replica, "charged_tokens_total", **RUN)
        hits = await value(replica, "runs_joined_total", how="hit")

    costs = [int(answer.headers["x-sluice-charged-tokens"]) for answer in (first, second)]
    assert (charged, hits) == (sum(costs), 1)
    assert min(costs) > 0


async def test_a_stream_has_its_times_and_one_that_is_come_back_to_is_counted(member: Member) -> None:
    names = ("time_to_first_token_seconds_count", "time_between_tokens_seconds_count")
    before = [await value(member.replica, name, **RUN) for name in names]
    resumed = await value(member.replica, "streams_resumed_total")

    stream = await member.stream(TENANT)
    await member.fetch(TENANT, stream.run_id, stream="true", starting_after="1")

    assert [await value(member.replica, name, **RUN) for name in names] == [count + 1 for count in before]
    assert await value(member.replica, "streams_resumed_total") == resumed + 1


async def test_refusals_and_failures_are_counted_by_their_codes(member: Member) -> None:
    before = await samples(member.replica)

    await member.post(PROVIDER, messages=[])
    await member.post(PROVIDER, model="status-500")
    await member.stream(TENANT, model="cut-mid-n2")

    for name, labels in (
        ("refusals_total", {"code": "empty_array"}),
        ("refusals_total", {"code": "provider_error"}),
        ("refusals_total", {"code": "upstream_truncated"}),
        ("run_failures_total", {"code": "upstream_truncated", "provider": "scripted"}),
        ("http_requests_total", {"method": "POST", "route": "/{scope}/v1/chat/completions", "status": "502"}),
    ):
        assert grew(before, await samples(member.replica), name, labels) == 1


def grew(before: Mapping[Any, float], after: Mapping[Any, float], name: str, labels: Mapping[str, str]) -> float:
    key = f"sluice_{name}", frozenset(labels.items())
    return after[key] - before.get(key, 0.0)


async def test_a_job_is_counted_with_its_wait(member: Member) -> None:
    before = await value(member.replica, "queue_wait_seconds_count")

    await member.whole(GROUP)

    assert await value(member.replica, "queue_wait_seconds_count") == before + 1


async def test_no_label_has_a_name_that_somebody_made_up(member: Member) -> None:
    await member.whole(TENANT, model="echo-made-up", user="made-up", metadata={"made-up": "made-up"})
    await member.get(TENANT, "/v1/models/made-up")
    await member.replica.client.request("MADE-UP", "/made-up")

    assert "made-up" not in (await member.replica.client.get("/metrics")).text.lower()


async def test_what_is_being_answered_is_told_while_it_is(member: Member) -> None:
    assert await value(member.replica, "http_requests_open") == 1


async def test_tenants_have_a_label_only_where_that_is_set(process: ProviderProcess, member: Member) -> None:
    await member.whole(TENANT)
    assert all("tenant" not in dict(labels) for _, labels in await samples(member.replica))

    async with running(process, metrics_tenants=True) as replica:
        other = Member(replica, await replica.add_tenant())
        await other.whole(TENANT)
        assert await value(replica, "charged_tokens_total", **RUN, tenant=other.tenant) > 0


async def test_without_metrics_nothing_is_there(process: ProviderProcess) -> None:
    async with running(process, metrics="off") as replica:
        answer = await replica.client.get("/metrics")

    assert answer.status_code == 404


async def test_operators_alone_are_told_where_that_is_set(process: ProviderProcess) -> None:
    async with running(process, metrics="admin", admin_port=0) as replica:
        outside = await replica.client.get("/metrics")
        inside = await replica.admin.get("/metrics")

    assert (outside.status_code, inside.status_code) == (404, 200)
    assert "sluice_http_requests_total" in inside.text
