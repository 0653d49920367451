"""What redis-py raises, in the domain's terms."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisClusterException, RedisError

from domain.errors import StoreUnavailable


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn whatever kept Redis from answering into StoreUnavailable, with the reason as its cause."""
    try:
        yield
    # Timeouts and lost connections are OSErrors where redis-py has not wrapped them.
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable from error
