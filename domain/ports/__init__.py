"""The whole outside world, as the domain needs it. Docstrings are the contract that every adapter keeps.

Each call has a deadline of its own, set where the adapter is built; a store that misses it raises StoreUnavailable.
"""

from domain.ports.accounts import Ledger, Outbox, RateLimiter
from domain.ports.administration import Resealed, Stored, TenantDocuments
from domain.ports.health import HealthBoard, Note, Noted
from domain.ports.providers import Call, ChatProvider, Tokenizer
from domain.ports.runs import CANCELS, JOBS, Doorbell, Named, Ring, RunNames, RunStore
from domain.ports.surroundings import ApiKeyStore, Clock, Dependency, Entropy, Journal, TenantStore, TokenVerifier
from domain.ports.till import Till

__all__ = [
    "CANCELS",
    "JOBS",
    "ApiKeyStore",
    "Call",
    "ChatProvider",
    "Clock",
    "Dependency",
    "Doorbell",
    "Entropy",
    "HealthBoard",
    "Journal",
    "Ledger",
    "Named",
    "Note",
    "Noted",
    "Outbox",
    "RateLimiter",
    "Resealed",
    "Ring",
    "RunNames",
    "RunStore",
    "Stored",
    "TenantDocuments",
    "TenantStore",
    "Till",
    "TokenVerifier",
    "Tokenizer",
]
