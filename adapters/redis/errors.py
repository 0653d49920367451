"""What keeps Redis from answering, in the domain's terms."""

import asyncio
from typing import Any

from hiredis import ReplyError

from domain.errors import StoreUnavailable


def code_of(reply: ReplyError) -> str:
    """The first word of an error, which says of which kind it is."""
    return str(reply).partition(" ")[0]


def fail(reply: "asyncio.Future[Any]", reason: Exception) -> None:
    """Tell whoever still waits for a reply that none comes; each has an error of their own."""
    if not reply.done():
        error = StoreUnavailable()
        error.__cause__ = reason
        reply.set_exception(error)
