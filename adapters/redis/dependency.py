"""Whether Redis can be used, for readiness."""

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from domain.errors import StoreUnavailable


class RedisDependency:
    """Redis, asked as the stores ask it."""

    name = "redis"

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def check(self) -> str | None:
        try:
            await self._connection.command("EXISTS", keys.tenant("sluice"))
        except StoreUnavailable:
            return "does not answer"
        return None
