"""Each way in which a provider fails, over real sockets: what the caller gets, the provider sees, and it costs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from tests.http.authority import Authority, Proofs, behind_tls
from tests.http.failing import BALANCE, Failing, failing, text_of
from tests.http.surfaces import PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import as_openai
from tests.provider.process import ProviderProcess

HELLO = "Hello, who are you?"


@dataclass(frozen=True, slots=True)
class Fault:
    """What a caller is told of a fault that nobody mends, how often the provider is asked, and the longest pauses."""

    status: int
    code: str
    asked: int = 1
    pauses: tuple[float, ...] = ()


UNREACHABLE = Fault(502, "upstream_unreachable", asked=0)
CUT = Fault(502, "upstream_truncated", asked=2, pauses=(0.2,))
SILENT = Fault(504, "upstream_timeout")
BAD = Fault(502, "upstream_bad_response")
ILL = Fault(502, "provider_error", asked=3, pauses=(0.2, 0.4))
#: Providers behind TLS that cannot prove who they are.
UNPROVEN = ("tls-unknown-authority", "tls-expired", "tls-wrong-host", "tls-none")
#: By the rows of the list of faults, F12 to F25.
FAULTS = {
    "refused": UNREACHABLE,
    "no-such-host": UNREACHABLE,
    **dict.fromkeys(UNPROVEN, UNREACHABLE),
    "reset": CUT,
    "close": CUT,
    "cut-mid": CUT,
    "reset-mid": CUT,
    "hang": SILENT,
    "drip-headers-i20": SILENT,
    "interim": SILENT,
    "trickle": SILENT,
    "stall": SILENT,
    "many-headers": BAD,
    "gzip-bomb-n1": BAD,
    "html-200": BAD,
    "empty-200": BAD,
    "not-json": BAD,
    "no-choices": BAD,
    "status-404-html": BAD,
    "redirect": replace(BAD, code="upstream_redirect"),
    "status-429-ra1e9": Fault(429, "rate_limit_exceeded"),
    "status-429-ra60": Fault(429, "rate_limit_exceeded"),
    "status-429-raneg": Fault(429, "rate_limit_exceeded", asked=3, pauses=(0.2, 0.4)),
    "status-429-raabc": Fault(429, "rate_limit_exceeded", asked=3, pauses=(0.2, 0.4)),
    "status-429-rams150": Fault(429, "rate_limit_exceeded", asked=3, pauses=(0.35, 0.55)),
    "status-500": ILL,
    "status-502": ILL,
    "status-503": ILL,
    "status-504": Fault(504, "upstream_timeout", asked=3, pauses=(0.2, 0.4)),
    "status-529": ILL,
    "error-in-200": ILL,
    "status-401": Fault(502, "upstream_refused_key"),
    "status-403": Fault(502, "upstream_refused_key"),
    "error-quota": Fault(502, "upstream_quota_exhausted"),
    "error-context": Fault(400, "context_length_exceeded"),
    "error-content-filter": Fault(400, "content_filter"),
    "error-param": Fault(400, "decimal_above_max_value"),
}
#: What another provider cannot answer any better.
THE_CALLERS = {"error-context", "error-content-filter", "error-param"}
MENDED = sorted(FAULTS.keys() - THE_CALLERS)
BAD_USAGE = ("none", "bad-negative", "bad-float", "bad-huge", "bad-text", "bad-partial")


@pytest.fixture(scope="module")
async def proofs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proofs]:
    folder = tmp_path_factory.mktemp("authorities")
    trusted = Authority(folder, "trusted")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(trusted.file))
        async with behind_tls(trusted, Authority(folder, "stranger")) as proofs:
            yield proofs


@pytest.fixture(scope="module")
async def started(process: ProviderProcess, proofs: Proofs) -> AsyncIterator[Failing]:
    behaviours = (*FAULTS, "echo", "words-n3", *(f"usage-{kind}" for kind in BAD_USAGE))
    patience = {
        "connect_seconds": 0.3,
        "first_byte_seconds": 0.5,
        "first_token_seconds": 0.3,
        "idle_seconds": 0.5,
        "total_seconds": 1.0,
    }
    async with failing(process, *behaviours, others=proofs.addresses, **patience) as started:
        yield started


@pytest.fixture
def faulty(started: Failing, provider: ProviderProcess) -> Failing:
    """Nothing is remembered of earlier tests."""
    return started


# --- nobody else to ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_that_nobody_mends_is_one_honest_error_after_few_attempts_and_costs_nothing(
    faulty: Failing, name: str
) -> None:
    member, fault = await faulty.member(name), FAULTS[name]

    answer = await member.post(TENANT)

    assert (answer.status_code, as_openai(answer).code) == (fault.status, fault.code)
    assert len(faulty.seen(name)) == fault.asked
    assert all(pause < longest + 0.3 for pause, longest in zip(faulty.pauses(name), fault.pauses, strict=True))
    assert await faulty.charged(member) == 0


@pytest.mark.parametrize(("name", "attempts"), [("status-503", "3"), ("status-401", "1"), ("refused", "3")])
async def test_an_error_says_how_often_was_asked(faulty: Failing, name: str, attempts: str) -> None:
    answer = await (await faulty.member(name)).post(TENANT)

    assert answer.headers["x-sluice-attempts"] == attempts


async def test_what_a_provider_asks_for_is_waited_before_it_is_asked_again(faulty: Failing) -> None:
    await (await faulty.member("status-429-rams150")).post(TENANT)

    assert all(pause >= 0.15 for pause in faulty.pauses("status-429-rams150"))


# --- somebody else to ask ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MENDED if FAULTS[name] is not SILENT])
async def test_a_fault_is_mended_by_another_provider_before_the_caller_notices(faulty: Failing, name: str) -> None:
    member = await faulty.member(name, "echo")

    answer = await member.post(TENANT)

    assert (answer.status_code, text_of(answer)) == (200, HELLO)
    assert (answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]) == ("at-echo", "2")
    assert len(faulty.seen(name)) == min(FAULTS[name].asked, 1)
    assert await faulty.charged(member) == answer.json()["usage"]["total_tokens"]


@pytest.mark.parametrize("name", [name for name in MENDED if name not in ("cut-mid", "reset-mid", "stall")])
async def test_a_stream_that_has_said_nothing_is_begun_elsewhere(faulty: Failing, name: str) -> None:
    member = await faulty.member(name, "echo")

    stream = await member.stream(TENANT)

    assert (stream.text(), stream.is_done) == (HELLO, True)
    assert (stream.headers["x-sluice-provider"], stream.headers["x-sluice-attempts"]) == ("at-echo", "2")
    assert len(faulty.seen(name)) == min(FAULTS[name].asked, 1)
    state = await member.fetch(TENANT, stream.run_id)
    assert (state.headers["x-sluice-provider"], state.headers["x-sluice-attempts"]) == ("at-echo", "2")
    assert await faulty.charged(member) == int(state.headers["x-sluice-charged-tokens"]) > 0


@pytest.mark.parametrize("name", sorted(THE_CALLERS))
async def test_what_the_caller_can_mend_is_sent_to_nobody_else(faulty: Failing, name: str) -> None:
    member = await faulty.member(name, "echo")

    answer = await member.post(TENANT)

    assert as_openai(answer).code == FAULTS[name].code
    assert (len(faulty.seen(name)), faulty.seen("echo")) == (1, [])


async def test_what_a_filter_refuses_goes_on_where_the_tenant_says_so(faulty: Failing) -> None:
    routes = [{"fallbacks": [{"provider": "at-echo"}], "on_content_filter": "fall_back"}]
    member = await faulty.member("error-content-filter", routes=routes)

    assert text_of(await member.post(TENANT)) == HELLO


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_who_answers_is_told_on_every_surface_and_kept_with_the_run(faulty: Failing, surface: Surface) -> None:
    routes = [{"provider": "at-status-500", "fallbacks": [{"provider": "at-echo", "model": "other"}]}]
    member = await faulty.member("status-500", routes=routes)
    at = surface if surface is not PROVIDER else replace(surface, prefix="/at-status-500")

    answer = await member.whole(at)

    assert answer.json()["model"] == "other"
    assert (answer.headers["x-sluice-provider"], answer.headers["x-sluice-attempts"]) == ("at-echo", "2")
    state = await member.fetch(at, answer.headers["x-completion-id"])
    assert state.json()["model"] == "other"
    assert (state.headers["x-sluice-provider"], state.headers["x-sluice-attempts"]) == ("at-echo", "2")


async def test_who_names_a_provider_gets_that_one_or_an_error(faulty: Failing) -> None:
    member = await faulty.member("echo", "words-n3")

    answer = await member.post(TENANT, provider="at-status-500")

    assert as_openai(answer).code == "provider_error"
    assert faulty.seen("words-n3") == []


async def test_what_is_charged_is_the_weight_of_who_answered(faulty: Failing) -> None:
    models = {"dear": {"provider": "at-words-n3", "weight": 10}}
    routes = [{"fallbacks": [{"provider": "at-words-n3", "model": "dear"}]}]
    member = await faulty.member("status-500", models=models, routes=routes)

    answer = await member.post(TENANT)

    charged = 10 * answer.json()["usage"]["total_tokens"]
    assert int(answer.headers["x-sluice-charged-tokens"]) == charged == await faulty.charged(member)


# --- who cannot prove who they are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNPROVEN)
async def test_who_cannot_prove_who_they_are_never_see_a_request(faulty: Failing, proofs: Proofs, name: str) -> None:
    proofs.asked.clear()

    refused = await (await faulty.member(name)).post(TENANT)
    proven = await (await faulty.member(name, "tls-proven")).post(TENANT)

    assert (refused.status_code, text_of(proven)) == (502, "proven")
    assert proofs.asked == ["tls-proven"]


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_that_is_refused_gives_way_to_the_next_one_and_is_not_used_again(faulty: Failing) -> None:
    member = await faulty.member("echo", api_keys={"at-echo": ["bad", "good"]})

    answers = [await member.post(TENANT) for _ in range(10)]

    used = [seen.headers["authorization"] for seen in faulty.seen("echo")]
    assert {answer.status_code for answer in answers} == {200}
    assert used.count("Bearer bad") <= 1
    assert used.count("Bearer good") == 10


# --- usage that cannot be true ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD_USAGE)
async def test_usage_that_cannot_be_true_is_counted_instead(faulty: Failing, kind: str) -> None:
    member = await faulty.member(f"usage-{kind}")

    answer = await member.post(TENANT)

    usage = answer.json()["usage"]
    assert 0 < usage["total_tokens"] < 100
    assert await faulty.charged(member) == usage["total_tokens"] < BALANCE
