"""Whether Redis can be used: for readiness, and before anything is trusted to it."""

from adapters.redis import keys
from adapters.redis.connection import RedisConnection
from adapters.redis.keys import ShardKeys
from adapters.redis.scripts import script
from domain.errors import StoreUnavailable
from domain.runs import SHARDS

#: The one policy that lets go of nothing.
_KEEPS_ALL = "noeviction"


class RedisDependency:
    """Redis, asked as the stores ask it."""

    name = "redis"

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._fit = False

    async def check(self) -> str | None:
        try:
            await self._connection.command("EXISTS", keys.tenant("sluice"))
            return await self._flaw()
        except StoreUnavailable:
            return "does not answer"

    async def flaw(self) -> str | None:
        try:
            return await self._flaw()
        except StoreUnavailable:
            # It may come yet, and is asked again before this replica is ready.
            return None

    async def _flaw(self) -> str | None:
        """Why balances are not safe here. Once they were found to be, nobody is asked again.

        Raises:
            StoreUnavailable: a server did not answer.
        """
        if self._fit:
            return None
        # The shards lie on every server of a cluster.
        for shard in range(SHARDS):
            policy = (await self._connection.run(script("policy"), [ShardKeys.of(shard).ready], ())).decode()
            if policy not in ("", _KEEPS_ALL):
                return f"maxmemory-policy is {policy} and may evict balances; it has to be {_KEEPS_ALL}"
        self._fit = True
        return None
