"""What the ledger says of a store's accounts: by ``sluice ledger``, and by its own reading of the histories."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing

from adapters.redis.connection import RedisConnection
from adapters.redis.ledger import RedisLedger
from domain.ledger import Account, Entry
from tests.gateway import CHECKOUT


def ledger(url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """What ``sluice ledger`` says with these words, and how it ends."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    program = [sys.executable, "-c", "from entrypoints.cli import main; main()", "ledger", *words]
    return subprocess.run(
        program,
        cwd=CHECKOUT,
        env={**variables, "SLUICE_REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def require_clean_audit(url: str) -> None:
    audit = ledger(url, "audit")
    assert (audit.returncode, audit.stderr) == (0, ""), audit.stdout


async def histories(url: str, later: float) -> dict[Account, Sequence[Entry]]:
    """Every account's history, the oldest entry first, as it is so many seconds from now."""
    connection = RedisConnection(url, timeout=2.0, deadline=5.0)
    books = RedisLedger(connection, clock=lambda: time.time() + later)
    try:
        async with aclosing(books.accounts()) as accounts:
            found = {account async for account in accounts}
        for account in found:
            await books.available(account)
        return {account: (await books.history(account, limit=10_000))[::-1] for account in found}
    finally:
        await connection.aclose()
