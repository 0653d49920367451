"""From settings to a container: which stores, which verifiers, which providers. Every decision is here."""

import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from dependency_injector import providers

from adapters.auth.mint import mint
from adapters.catalogue import CatalogueError, load_models, load_providers
from adapters.journal.sinks import configure_logging
from adapters.openai.provider import Deadlines
from adapters.outbox.file import FileOutbox
from adapters.outbox.memory import MemoryOutbox
from config.container import Container
from config.identity import IdentityError, add_vouchers
from config.lifetimes import Lifetimes
from config.memory_stores import InMemory
from config.settings import Settings
from config.strength import MIN_SECRET_BYTES
from config.vault import VaultError, vault_of
from domain.completions.bulkheads import Berths
from domain.completions.production import RunLimits
from domain.models import Catalogue
from domain.providers import ProviderRegistry, ProviderSpec
from domain.spans import Tracing
from domain.tenants import Limits

#: Mints a token: user, tenants, groups by tenant, lifetime in seconds, Unix time now.
Mint: TypeAlias = Callable[..., str]

_HERE = Path(__file__).parent


class CompositionError(RuntimeError):
    """The settings are sound, but what they name is not: a catalogue file, a URL. One line for each problem."""


def build(settings: Settings, *, own_providers: Sequence[ProviderSpec] = ()) -> Container:
    """The container of a replica; ``own_providers`` are registered beside those that the settings name.

    Raises:
        CompositionError: a catalogue file or a URL is wrong.
    """
    registry, catalogue = _read_files(settings, own_providers)
    container = Container(
        settings=providers.Object(settings),
        registry=providers.Object(registry),
        catalogue=providers.Object(catalogue),
        run_limits=providers.Object(_run_limits(settings)),
        deadlines=providers.Object(
            Deadlines(settings.connect_seconds, settings.first_byte_seconds, settings.idle_seconds)
        ),
        berths=providers.Object(Berths(settings.target_runs, settings.target_queue, settings.target_queue_seconds)),
    )
    if settings.metrics != "off":
        container.journals.add_args(container.counting)
        container.closers.add_args(container.loop_lag.provided.aclose)
    try:
        container.vault.override(vault_of(settings, container.journal))
    except VaultError as error:
        raise CompositionError(str(error)) from None
    if settings.traces_url is not None:
        _add_traces(container, settings.traces_url, settings.traces_share)
    _add_stores(container, settings)
    _add_outbox(container, settings)
    try:
        add_vouchers(container, settings)
    except IdentityError as error:
        raise CompositionError(str(error)) from None
    return container


def start_logging(settings: Settings) -> None:
    """Send the log to standard error. Call it after the libraries that set up logging of their own."""
    configure_logging(settings.log_format, settings.log_level.upper(), sys.stderr)


def with_secret(settings: Settings) -> Settings:
    """The settings with a secret of this process's own, where neither a secret nor an issuer is set."""
    if settings.jwt_secret is not None or settings.jwt_issuer is not None or settings.issuers is not None:
        return settings
    return Settings.model_validate({**settings.model_dump(), "jwt_secret": secrets.token_urlsafe(MIN_SECRET_BYTES)})


def minting(settings: Settings) -> Mint | None:
    """What mints tokens that this gateway takes; None where only an issuer can."""
    return partial(mint, settings.jwt_secret.get_secret_value().encode()) if settings.jwt_secret is not None else None


def _add_stores(container: Container, settings: Settings) -> None:
    limits = providers.Object(Limits(settings.requests_per_minute, settings.tokens_per_minute))
    lifetimes = providers.Object(
        Lifetimes(settings.lease_seconds, settings.queue_seconds, settings.log_kept_seconds, settings.run_kept_seconds)
    )
    if settings.redis_url is None:
        _fill_in(container, InMemory(default_limits=limits, lifetimes=lifetimes, vault=container.vault))
        return
    # redis-py is a third of what there is to import; without a Redis nobody waits for it.
    from config.redis_stores import InRedis

    redis = InRedis(
        url=settings.redis_url.get_secret_value(),
        seconds=settings.redis_seconds,
        replicas=settings.replicas,
        journal=container.journal,
        default_limits=limits,
        lifetimes=lifetimes,
        watch=container.redis_watch if settings.metrics != "off" else providers.Object(None),
        vault=container.vault,
    )
    try:
        redis.connection()
    except ValueError as error:
        raise CompositionError(f"SLUICE_REDIS_URL: {error}") from None
    _fill_in(container, redis)
    container.checks.add_args(redis.dependency)
    container.closers.add_args(
        redis.limiter.provided.aclose,
        redis.doorbell.provided.aclose,
        redis.tenants.provided.aclose,
        redis.api_key_store.provided.aclose,
        redis.connection.provided.aclose,
    )


def _add_traces(container: Container, url: str, share: float) -> None:
    try:
        # An extra: whoever does not set the URL need not have its packages.
        from adapters.spans.journal import TracingJournal
    except ImportError:
        raise CompositionError("SLUICE_TRACES_URL: needs the packages of requirements/traces.txt") from None
    journal = providers.Singleton(TracingJournal, url, version("sluice"))
    container.journals.add_args(journal)
    container.tracing.override(providers.Singleton(Tracing, container.entropy, share))
    container.closers.add_args(journal.provided.aclose)


def _fill_in(container: Container, stores: Any) -> None:
    """Let the overlay's stores be those of the container."""
    stores_of = ("tenants", "api_key_store", "ledger", "limiter", "run_store", "till", "run_names", "doorbell")
    for name in (*stores_of, "health_board"):
        getattr(container, name).override(getattr(stores, name))
    container.documents.override(stores.tenants)


def _add_outbox(container: Container, settings: Settings) -> None:
    if settings.outbox is None:
        container.outbox.override(providers.Singleton(MemoryOutbox))
        return
    outbox = providers.Singleton(FileOutbox, settings.outbox)
    try:
        outbox()
    except OSError as error:
        raise CompositionError(f"SLUICE_OUTBOX: cannot be written to ({error.strerror})") from None
    container.outbox.override(outbox)
    container.closers.add_args(outbox.provided.aclose)


def _read_files(settings: Settings, own: Sequence[ProviderSpec]) -> tuple[ProviderRegistry, Catalogue]:
    """Providers and models; what is wrong with either file is told together."""
    problems: list[str] = []
    registry, catalogue = ProviderRegistry({}), Catalogue(())
    try:
        registry = _registry(settings, own)
    except CompositionError as error:
        problems.append(str(error))
    try:
        catalogue = _catalogue(settings)
    except CompositionError as error:
        problems.append(str(error))
    if problems:
        raise CompositionError("\n".join(problems))
    return registry, catalogue


def _registry(settings: Settings, own: Sequence[ProviderSpec]) -> ProviderRegistry:
    files = [_HERE / "providers.toml", *([settings.providers] if settings.providers is not None else [])]
    try:
        specs = load_providers(*files)
    except CatalogueError as error:
        raise CompositionError(str(error)) from None
    if settings.upstream is not None:
        specs["upstream"] = _upstream(settings.upstream, settings)
    return ProviderRegistry({**specs, **{spec.id: spec for spec in own}})


def _upstream(base_url: str, settings: Settings) -> ProviderSpec:
    """The provider of SLUICE_UPSTREAM: any model, and the operator's key for tenants who bring none."""
    spec = ProviderSpec("upstream", "upstream", base_url.rstrip("/"), key="optional", models="any")
    key = settings.upstream_key
    return spec if key is None else replace(spec, headers={"Authorization": f"Bearer {key.get_secret_value()}"})


def _catalogue(settings: Settings) -> Catalogue:
    files = [_HERE / "models.toml", *([settings.models] if settings.models is not None else [])]
    try:
        return Catalogue(load_models(*files))
    except CatalogueError as error:
        raise CompositionError(str(error)) from None


def _run_limits(settings: Settings) -> RunLimits:
    return RunLimits(
        total_seconds=settings.total_seconds,
        queue_seconds=settings.queue_seconds,
        store_grace=settings.redis_grace_seconds,
        lease_seconds=settings.lease_seconds,
        kept_seconds=settings.run_kept_seconds,
        output_bytes=settings.output_bytes,
        job_slots=settings.job_slots,
        queue_length=settings.queue_length,
    )
