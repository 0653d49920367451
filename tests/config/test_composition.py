"""From settings to a container: every part can be built, and what a setting names is what is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.memory.ledger import MemoryLedger
from adapters.redis.ledger import RedisLedger
from config.composition import CompositionError, build, minting, with_secret
from config.settings import Settings, read_settings
from domain.errors import NotAuthenticated
from domain.models import Catalogue
from tests.gateway import CHECKOUT

pytestmark = pytest.mark.anyio

SECRET = "a secret of thirty-two bytes or so, made up"

#: One of each kind: what any of these builds has been built with the arguments that its constructor has.
KINDS = [
    {},
    {"SLUICE_REDIS_URL": "redis://127.0.0.1:1/0", "SLUICE_JWT_SECRET": SECRET},
    {"SLUICE_REDIS_URL": "redis+cluster://127.0.0.1:1"},
    {"SLUICE_REDIS_URL": "redis+sentinel://127.0.0.1:1/mymaster"},
    {"SLUICE_JWT_ISSUER": "https://login.example", "SLUICE_JWT_AUDIENCE": "sluice"},
    {"SLUICE_UPSTREAM": "http://127.0.0.1:1/v1", "SLUICE_UPSTREAM_KEY": "sk-x"},
]


@pytest.mark.parametrize("environment", KINDS)
def test_every_part_can_be_built(environment: dict[str, str]) -> None:
    container = build(read_settings(environment))

    parts = {name: provider() for name, provider in container.providers.items()}

    assert parts["runs"] is container.runs()


def test_a_redis_url_decides_where_balances_are() -> None:
    assert isinstance(build(Settings()).ledger(), MemoryLedger)
    assert isinstance(build(read_settings({"SLUICE_REDIS_URL": "redis://127.0.0.1:1"})).ledger(), RedisLedger)


@pytest.mark.parametrize("url", ["http://localhost", "redis+sentinel://localhost", "redis://", "nonsense"])
def test_a_redis_url_that_is_none_is_told_by_its_setting(url: str) -> None:
    with pytest.raises(CompositionError, match="SLUICE_REDIS_URL"):
        build(read_settings({"SLUICE_REDIS_URL": url}))


def test_an_issuer_in_plain_http_is_refused_off_the_loopback() -> None:
    settings = read_settings({"SLUICE_JWT_ISSUER": "http://login.example", "SLUICE_JWT_AUDIENCE": "sluice"})

    with pytest.raises(CompositionError, match="SLUICE_JWT_ISSUER"):
        build(settings)


def test_the_upstream_is_a_provider_that_takes_any_model_and_the_operators_key() -> None:
    settings = read_settings({"SLUICE_UPSTREAM": "http://127.0.0.1:1/v1/", "SLUICE_UPSTREAM_KEY": "sk-x"})

    spec = build(settings).registry().get("upstream")

    assert spec is not None
    assert (spec.base_url, spec.models, spec.key) == ("http://127.0.0.1:1/v1", "any", "optional")
    assert spec.headers == {"Authorization": "Bearer sk-x"}


def test_files_of_the_operator_are_merged_over_the_shipped_ones(tmp_path: Path) -> None:
    providers, models = tmp_path / "providers.toml", tmp_path / "models.toml"
    providers.write_text('[openai]\nbase_url = "http://127.0.0.1:1/v1"\n[mine]\nname = "Mine"\nbase_url = "http://m"\n')
    models.write_text('[mine-1]\ncontext_window = 10\n[mine-1.providers]\nmine = "one"\n')

    container = build(Settings(providers=providers, models=models))

    openai, catalogue = container.registry().get("openai"), container.catalogue()
    assert openai is not None
    assert (openai.name, openai.base_url) == ("OpenAI", "http://127.0.0.1:1/v1")
    assert isinstance(catalogue, Catalogue)
    found = catalogue.find("mine", "mine-1")
    assert found is not None
    assert (found.sent, found.model.context_window) == ("one", 10)


async def test_a_token_minted_here_is_taken_here_and_nowhere_else() -> None:
    settings = with_secret(Settings())
    mint = minting(settings)
    assert mint is not None
    token = mint("u1", tenants=["acme"], groups={}, lifetime=60, now=build(settings).clock()())

    principal = await build(settings).verifier().verify(token)

    assert (principal.user, principal.tenants) == ("u1", frozenset({"acme"}))
    with pytest.raises(NotAuthenticated):
        await build(with_secret(Settings())).verifier().verify(token)


async def test_claims_may_have_other_names() -> None:
    settings = read_settings({"SLUICE_JWT_SECRET": SECRET, "SLUICE_JWT_USER_CLAIM": "scope"})
    mint = minting(settings)
    assert mint is not None
    token = mint("u1", tenants=["acme"], groups={}, lifetime=60, now=build(settings).clock()(), scopes=["someone"])

    principal = await build(settings).verifier().verify(token)

    assert principal.user == "someone"


# --- what is told -----------------------------------------------------------------------------------------------------


def modules_loaded(statement: str) -> set[str]:
    """The first names of what is loaded in a new process after a statement."""
    told = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", told], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(("url", "loaded"), [(None, False), ("http://127.0.0.1:4318/v1/traces", True)])
def test_opentelemetry_is_loaded_for_whoever_wants_traces(url: str | None, loaded: bool) -> None:
    built = f"build(Settings(traces_url={url!r}))"

    modules = modules_loaded(f"from config.composition import build; from config.settings import Settings; {built}")

    assert ("opentelemetry" in modules) is loaded
    assert "prometheus_client" not in modules, "it is for whoever scrapes"


def test_traces_without_their_packages_are_a_problem_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adapters.spans.journal", None)

    with pytest.raises(CompositionError, match=r"SLUICE_TRACES_URL: needs .* requirements/traces\.txt"):
        build(Settings(traces_url="http://127.0.0.1:4318/v1/traces"))
