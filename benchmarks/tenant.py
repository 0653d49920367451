"""Sets up the tenant that benchmarks use: every limit on, and none that is ever reached."""

import sys
import time
from pathlib import Path

import orjson
from redis import Redis

from adapters.auth.mint import mint

#: The secret in ``gateway.toml``.
SECRET = b"a secret of the benchmark, which is not one"
TENANT = "bench"
_PLENTY = 10**9
_LIMITS = {"requests_per_minute": _PLENTY, "tokens_per_minute": 10**12, "concurrent_runs": 10**6}
_DOCUMENT = {
    "groups": {"staff": {"limits": _LIMITS, "user_limits": _LIMITS}},
    "default_group": "staff",
    "default": "upstream",
    "limits": _LIMITS,
}


def main() -> None:
    """``tenant REDIS_URL FILE``: the tenant's document and a balance into Redis, a token for its user into the file."""
    url, file = sys.argv[1:]
    with Redis.from_url(url) as redis:
        redis.set(f"tenant:{TENANT}", orjson.dumps(_DOCUMENT))
        redis.set(f"tokens:{TENANT}:staff:ada", _PLENTY * 10**6)
    token = mint(SECRET, "ada", tenants=[TENANT], groups={TENANT: "staff"}, lifetime=3_600, now=time.time())
    Path(file).write_text(token)


if __name__ == "__main__":
    main()
