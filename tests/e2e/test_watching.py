"""The dashboard and the alerts ask for what a gateway tells: each name and each label, of a real one that is used."""

import itertools
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics.families import Families
from tests.docs.watching import QUERIES, RULES
from tests.e2e.conftest import TENANT, set_up_tenant, token
from tests.gateway import SECRET, GatewayProcess
from tests.provider.process import ProviderProcess
from tests.redis_server import redis_server

pytestmark = pytest.mark.e2e

#: What Prometheus adds to each series by itself, and a histogram to its buckets.
_ADDED = {"instance", "job", "le"}
_SERIES = re.compile(r"\b((?:sluice|process|python)_\w+)(?:\{([^}]*)\})?")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """The labels of each series that a gateway tells which has answered, refused, failed and queued."""
    folder = tmp_path_factory.mktemp("watching")
    providers = folder / "providers.toml"
    with ProviderProcess.start() as provider, redis_server(folder) as redis:
        providers.write_text(f'[openai]\nbase_url = "{provider.base_url}"\nmodels = "any"\n')
        set_up_tenant(redis)
        environment = {
            "SLUICE_REDIS_URL": redis.url,
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_PROVIDERS": str(providers),
        }
        with GatewayProcess.start(folder / "gateway.log", environment) as gateway:
            use(gateway.origin)
            return labels_of(httpx.get(f"{gateway.origin}/metrics", trust_env=False).text)


def use(origin: str) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    with httpx.Client(base_url=f"{origin}/{TENANT}", headers=headers, timeout=20, trust_env=False) as client:
        for model, stream in itertools.product(("echo", "status-500"), (True, False)):
            body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello there"}]}
            client.post("/v1/chat/completions", json=body)
        client.post("/v1/chat/completions", json={})


def labels_of(text: str) -> dict[str, set[str]]:
    """By the name of each series; where there is none yet, the labels that it will have."""
    found = {table.name: set(table.labels) for table in Families().tables}
    found |= {f"{name}_bucket": labels for name, labels in found.items()}
    told = list(text_string_to_metric_families(text))
    names = {family.name + ("_total" if family.type == "counter" else "") for family in told}
    assert {table.name for table in Families().tables} <= names
    return found | {sample.name: set(sample.labels) for family in told for sample in family.samples}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(exposed: Mapping[str, set[str]], query: str) -> None:
    series = _SERIES.findall(query)
    grouped = {label.strip() for group in _GROUPED.findall(query) for label in group.split(",")}

    assert [name for name, _ in series if name not in exposed] == []
    for name, selectors in series:
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors)) <= exposed[name] | _ADDED
    assert grouped <= _ADDED.union(*(exposed[name] for name, _ in series))


@pytest.mark.parametrize(
    "check", [("check", "rules", str(RULES)), ("test", "rules", str(Path(__file__).with_name("alerts_test.yml")))]
)
def test_promtool_agrees(check: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *check], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
