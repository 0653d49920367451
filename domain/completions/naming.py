"""Names that runs have besides their ids, as digests of all that they depend on.

Parts are joined with their lengths, so that no two lists of parts give the same name.
"""

import hashlib
import json
from collections.abc import Iterable

from domain.chat import ChatRequest
from domain.ledger import Account
from domain.providers import Target
from domain.tenants import ANONYMOUS, Caller, is_nobody

#: Fields of a body that say in what form the answer is to come, or that the target says better.
_OF_THE_DRESS = frozenset({"model", "stream", "stream_options"})


def fingerprint(request: ChatRequest) -> str:
    """A digest of what a client asked for, the same for the same JSON in whatever order and spacing."""
    asked = [
        request.body, request.model, request.stream, request.include_usage, request.provider, request.group,
        request.conversation, request.cache_key,
    ]  # fmt: skip
    return _digest([_canonical(asked)])


def idempotency_name(caller: Caller, key: str, fingerprint: str) -> str:
    """The name of the run that an Idempotency-Key stands for: a key is its user's own.

    Nobody in particular cannot be told from the next one, so there the key counts together with the request: two
    strangers who chose the same key never meet.
    """
    parts = ["idempotency", caller.tenant.id]
    if caller.group is not None and is_nobody(caller.group, caller.user):
        return _digest([*parts, ANONYMOUS, "", key, fingerprint])
    return _digest([*parts, "", caller.user, key, ""])


def cache_name(account: Account, target: Target, request: ChatRequest, *, extras: bool, generation: str = "") -> str:
    """The name of the run whose answer a cache key stands for: the same request of the same group, and no other.

    Streamed or not, it is the same answer; and so it is where the model was asked for by another of its names.
    But an answer that keeps its ``extras``, what a provider sends beyond OpenAI's fields, is not for who gets none.
    With another ``generation``, no answer that was kept before has the name.
    """
    asked = _canonical({key: value for key, value in request.body.items() if key not in _OF_THE_DRESS})
    parts = [account.tenant, account.group, target.provider.id, target.base_url, target.sent_model, asked]
    named = ["cache", *parts, "extras" if extras else "", request.cache_key or ""]
    return _digest([*named, generation] if generation else named)


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
