"""The stores in this process: for development and tests, and where one replica is all there is."""

import time

from dependency_injector import containers, providers

from adapters.memory.apikeys import MemoryApiKeyStore
from adapters.memory.doorbell import MemoryDoorbell
from adapters.memory.health import MemoryHealthBoard
from adapters.memory.ledger import MemoryLedger
from adapters.memory.names import MemoryRunNames
from adapters.memory.rate import MemoryRateLimiter
from adapters.memory.runs import MemoryRunStore
from adapters.memory.tenants import MemoryTenantStore
from adapters.vault import Vault
from config.lifetimes import Lifetimes
from domain.completions.till import SeparateTill
from domain.tenants import Limits


class InMemory(containers.DeclarativeContainer):
    """An overlay for ``Container``: nothing outlives the process."""

    vault: providers.Dependency[Vault] = providers.Dependency()
    default_limits = providers.Dependency(instance_of=Limits)
    lifetimes = providers.Dependency(instance_of=Lifetimes)

    clock = providers.Object(time.time)
    tenants = providers.Singleton(MemoryTenantStore, defaults=default_limits, vault=vault)
    api_key_store = providers.Singleton(MemoryApiKeyStore, clock)
    ledger = providers.Singleton(MemoryLedger, clock)
    limiter = providers.Singleton(MemoryRateLimiter, clock)
    doorbell = providers.Singleton(MemoryDoorbell)
    run_store = providers.Singleton(
        MemoryRunStore,
        clock,
        doorbell,
        lease=lifetimes.provided.lease,
        queue=lifetimes.provided.queue,
        log_kept=lifetimes.provided.log_kept,
        kept=lifetimes.provided.kept,
    )
    till = providers.Singleton(SeparateTill, limiter, ledger, run_store)
    run_names = providers.Singleton(MemoryRunNames, clock)
    health_board = providers.Singleton(MemoryHealthBoard, clock)
