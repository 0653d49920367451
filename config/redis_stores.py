"""The stores in Redis, which any number of replicas share."""

import time

from dependency_injector import containers, providers

from adapters.memory.share import LocalShare
from adapters.redis.apikeys import RedisApiKeyStore
from adapters.redis.connection import RedisConnection, Watch
from adapters.redis.dependency import RedisDependency
from adapters.redis.doorbell import RedisDoorbell
from adapters.redis.health import RedisHealthBoard
from adapters.redis.ledger import RedisLedger
from adapters.redis.names import RedisRunNames
from adapters.redis.rate import RedisRateLimiter
from adapters.redis.runs import RedisRunStore
from adapters.redis.tenants import RedisTenantStore
from adapters.redis.till import RedisTill
from adapters.vault import Vault
from config.lifetimes import Lifetimes
from domain.ports import Journal
from domain.tenants import Limits


class InRedis(containers.DeclarativeContainer):
    """An overlay for ``Container``; nothing is connected before it is first used."""

    url = providers.Dependency(instance_of=str)
    seconds = providers.Dependency(instance_of=float)
    replicas = providers.Dependency(instance_of=int)
    journal: providers.Dependency[Journal] = providers.Dependency()
    vault: providers.Dependency[Vault] = providers.Dependency()
    default_limits = providers.Dependency(instance_of=Limits)
    lifetimes = providers.Dependency(instance_of=Lifetimes)

    watch: providers.Dependency[Watch | None] = providers.Dependency()
    connection = providers.Singleton(RedisConnection, url, timeout=seconds, deadline=seconds, watch=watch)
    dependency = providers.Singleton(RedisDependency, connection)
    tenants = providers.Singleton(
        RedisTenantStore,
        connection,
        defaults=default_limits,
        monotonic=providers.Object(time.monotonic),
        vault=vault,
    )
    api_key_store = providers.Singleton(RedisApiKeyStore, connection, monotonic=providers.Object(time.monotonic))
    ledger = providers.Singleton(RedisLedger, connection)
    limiter = providers.Singleton(
        LocalShare,
        providers.Singleton(RedisRateLimiter, connection),
        providers.Object(time.time),
        journal,
        replicas=replicas,
    )
    run_store = providers.Singleton(
        RedisRunStore,
        connection,
        lease=lifetimes.provided.lease,
        queue=lifetimes.provided.queue,
        log_kept=lifetimes.provided.log_kept,
        kept=lifetimes.provided.kept,
    )
    till = providers.Singleton(RedisTill, connection, limiter, ledger, run_store)
    run_names = providers.Singleton(RedisRunNames, connection)
    health_board = providers.Singleton(RedisHealthBoard, connection)
    doorbell = providers.Singleton(RedisDoorbell, url)
