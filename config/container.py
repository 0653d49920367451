"""The one place where ports meet adapters. Constructors only: what depends on settings is decided in ``composition``.

``InMemory`` and ``InRedis`` are overlays: each fills in the stores that ``Container`` leaves open.
"""

import os
import random
import secrets
import time
from importlib.metadata import version

from dependency_injector import containers, providers

from adapters.auth.bearer import BearerTokens
from adapters.auth.jwt import Verifiers
from adapters.journal.fanout import Journals
from adapters.journal.journal import LoguruJournal
from adapters.metrics.exposition import Exposition
from adapters.metrics.families import Families
from adapters.metrics.journal import CountingJournal
from adapters.metrics.lag import LoopLag
from adapters.metrics.levels import Levels
from adapters.metrics.names import ModelNames
from adapters.metrics.stores import RedisWatch
from adapters.metrics.targets import TargetLevels
from adapters.openai.provider import Deadlines, OpenAIProvider
from adapters.openai.transport import PooledTransport
from adapters.tokenizer.tokenizer import TiktokenTokenizer
from adapters.vault import Vault
from config.settings import Settings
from domain.administration.balances import BalanceAdministration
from domain.administration.keys import KeyAdministration
from domain.administration.runs import RunAdministration
from domain.administration.targets import TargetAdministration
from domain.administration.tenants import TenantAdministration
from domain.completions.admission import Admission
from domain.completions.attempts import Attempts
from domain.completions.bulkheads import Berths
from domain.completions.callers import Callers
from domain.completions.health import Health
from domain.completions.production import Production, RunLimits
from domain.completions.runs import CompletionRuns
from domain.completions.settling import Settling
from domain.completions.sharing import Sharing
from domain.completions.targets import Targets
from domain.credentials import ApiKeys
from domain.models import Catalogue
from domain.namespaces import Namespaces
from domain.ports import (
    ApiKeyStore,
    Doorbell,
    HealthBoard,
    Ledger,
    Outbox,
    RateLimiter,
    RunNames,
    RunStore,
    TenantDocuments,
    TenantStore,
    Till,
)
from domain.providers import Planner, ProviderRegistry
from domain.routing import Router
from domain.spans import Tracing, Untraced


class Container(containers.DeclarativeContainer):
    """Every part of a replica, built when it is first asked for."""

    settings = providers.Dependency(instance_of=Settings)
    registry = providers.Dependency(instance_of=ProviderRegistry)
    catalogue = providers.Dependency(instance_of=Catalogue)
    run_limits = providers.Dependency(instance_of=RunLimits)
    deadlines = providers.Dependency(instance_of=Deadlines)
    berths = providers.Dependency(instance_of=Berths)

    vault: providers.Dependency[Vault] = providers.Dependency()
    tenants: providers.Dependency[TenantStore] = providers.Dependency()
    documents: providers.Dependency[TenantDocuments] = providers.Dependency()
    api_key_store: providers.Dependency[ApiKeyStore] = providers.Dependency()
    ledger: providers.Dependency[Ledger] = providers.Dependency()
    limiter: providers.Dependency[RateLimiter] = providers.Dependency()
    till: providers.Dependency[Till] = providers.Dependency()
    run_store: providers.Dependency[RunStore] = providers.Dependency()
    run_names: providers.Dependency[RunNames] = providers.Dependency()
    doorbell: providers.Dependency[Doorbell] = providers.Dependency()
    health_board: providers.Dependency[HealthBoard] = providers.Dependency()

    outbox: providers.Dependency[Outbox] = providers.Dependency()

    clock = providers.Object(time.time)
    monotonic = providers.Object(time.monotonic)
    draw = providers.Object(random.random)
    #: What this process is called among the others.
    replica = providers.Singleton(secrets.token_hex, 8)
    entropy = providers.Object(os.urandom)
    families = providers.Singleton(Families, tenants=settings.provided.metrics_tenants)
    #: Who is told each fact: ``composition`` adds whoever counts them.
    journals = providers.List(providers.Singleton(LoguruJournal))
    counting = providers.Singleton(CountingJournal, families, providers.Singleton(ModelNames, catalogue))
    journal = providers.Singleton(Journals, journals)
    #: Begins traces, or nothing: ``composition`` decides.
    tracing: providers.Provider[Tracing | Untraced] = providers.Object(Untraced())
    tokenizer = providers.Singleton(TiktokenTokenizer)
    transport = providers.Singleton(PooledTransport)
    provider = providers.Singleton(OpenAIProvider, transport, deadlines=deadlines, journal=journal)
    #: Whoever can vouch for a token: ``composition`` adds the secret's and the issuer's verifier.
    vouchers = providers.List()
    api_keys = providers.Singleton(ApiKeys, store=api_key_store, tenants=tenants, clock=clock, entropy=entropy)
    #: Whoever is asked about opaque tokens: at most one.
    introspectors = providers.List()
    signed = providers.Singleton(Verifiers, vouchers, clock)
    verifier = providers.Singleton(BearerTokens, api_keys, signed, introspectors)

    planner = providers.Singleton(
        Planner, registry=registry, catalogue=catalogue, guests=settings.provided.tenant_providers
    )
    namespaces = providers.Singleton(Namespaces, tenants=tenants, registry=registry)
    callers = providers.Singleton(Callers, tenants=tenants, entropy=entropy)
    router = providers.Singleton(Router, planner)
    admission = providers.Singleton(
        Admission, router=router, tokenizer=tokenizer, limiter=limiter, ledger=ledger, till=till
    )
    health = providers.Singleton(Health, monotonic, journal, draw, berths=berths)
    targets = providers.Singleton(Targets, health)
    sharing = providers.Singleton(Sharing, replica, health, health_board, journal)
    attempts = providers.Singleton(
        Attempts, provider, tokenizer, health, journal, draw, first_token=settings.provided.first_token_seconds
    )
    settling = providers.Singleton(Settling, ledger=ledger, outbox=outbox, limiter=limiter, journal=journal)
    production = providers.Singleton(
        Production,
        attempts=attempts,
        store=run_store,
        names=run_names,
        settling=settling,
        till=till,
        tokenizer=tokenizer,
        journal=journal,
        clock=clock,
        limits=run_limits,
    )
    runs = providers.Singleton(
        CompletionRuns,
        admission=admission,
        production=production,
        tenants=tenants,
        store=run_store,
        names=run_names,
        doorbell=doorbell,
        sharing=sharing,
        router=router,
        journal=journal,
        clock=clock,
        entropy=entropy,
        limits=run_limits,
    )
    tenant_administration = providers.Singleton(
        TenantAdministration, documents=documents, registry=registry, journal=journal
    )
    balance_administration = providers.Singleton(
        BalanceAdministration, tenants=tenant_administration, ledger=ledger, journal=journal
    )
    key_administration = providers.Singleton(KeyAdministration, keys=api_keys, journal=journal)
    run_administration = providers.Singleton(RunAdministration, runs=runs, store=run_store, journal=journal)
    target_administration = providers.Singleton(TargetAdministration, targets=targets, journal=journal)
    levels = providers.Singleton(Levels, providers.Callable(version, "sluice"), runs.provided.occupation)
    target_levels = providers.Singleton(TargetLevels, targets)
    exposition = providers.Singleton(Exposition, families.provided.tables, levels, target_levels)
    redis_watch = providers.Singleton(RedisWatch, families)
    loop_lag = providers.Singleton(LoopLag, families.provided.loop_lag)
    #: What must answer for this replica to be ready, and what is closed when it ends, in this order.
    checks = providers.List()
    closers = providers.List(transport.provided.aclose)
