"""API keys: what one looks like, whom it speaks for, and what is kept of it. Pure.

A key is shown once, to whoever it is made for; what is kept is its SHA-256. A password needs a slow hash, since it can
be guessed; 256 random bits cannot.
"""

import hashlib
import re
import zlib
from dataclasses import dataclass

from domain.tenants import GroupId, Principal, TenantId, UserId

#: Tells whoever finds a key what it is: people, and the programs that search code for secrets.
PREFIX = "sk-sluice-"
SECRET_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: 256 bits in base 62; after them a checksum, so that a key that was mistyped or cut off troubles no store.
_SECRET_LENGTH, _CHECK_LENGTH = 43, 6
_KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECK_LENGTH}}}")
#: So much of the secret may be shown: what is left has more than 200 bits still.
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key. ``start`` is how it begins, for whoever wants to recognise it; ``digest`` its SHA-256.

    It speaks for one user, as a member of one group of one tenant. ``created``, ``expires`` and ``used`` are Unix
    seconds; without ``expires`` it is good until it is revoked. ``used`` is when it was used last, give or take a
    minute, None for never. No ``scopes``: it may do what its user may.
    """

    id: str
    digest: str
    start: str
    tenant: TenantId
    group: GroupId
    user: UserId
    name: str
    created: int
    expires: int | None = None
    scopes: frozenset[str] = frozenset()
    used: int | None = None

    def is_good(self, now: float) -> bool:
        return self.expires is None or now < self.expires

    def principal(self) -> Principal:
        return Principal(self.user, frozenset({self.tenant}), {self.tenant: self.group}, self.scopes)


def make(entropy: bytes) -> str:
    """The key of 32 random bytes."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a key is made of {SECRET_BYTES} bytes")
    secret = _base62(int.from_bytes(entropy), _SECRET_LENGTH)
    return f"{PREFIX}{secret}{_check(secret)}"


def is_key(text: str) -> bool:
    """Whether it can be a key at all; that it is one, only the store knows."""
    return _KEY.fullmatch(text) is not None and _check(text[len(PREFIX) : -_CHECK_LENGTH]) == text[-_CHECK_LENGTH:]


def digest(key: str) -> str:
    """What a key is kept under: 64 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def start(key: str) -> str:
    """As much of a key as may be shown."""
    return key[: len(PREFIX) + _SHOWN]


def _check(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
