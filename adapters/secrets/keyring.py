"""Key-encryption keys: several, each with an id, of which the first seals. Pure."""

import re
from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass

#: https://doi.org/10.6028/NIST.FIPS.197: the longest key that AES takes.
KEY_BYTES = 32
_ENTRY = re.compile(r"(?P<id>[A-Za-z0-9._-]{1,32}):(?P<key>[A-Za-z0-9+/_-]{1,64}={0,2})")


class KeyringError(ValueError):
    """What is wrong with the keys, as a predicate; it repeats none."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by id; ``active`` is the id of the one that seals, the others only open."""

    active: str
    keys: Mapping[str, bytes]


def parse_keyring(text: str) -> Keyring:
    """The keys of a text: ``<id>:<32 bytes in base64>``, one a line or with commas between; ``#`` begins a comment.

    Raises:
        KeyringError: there is none, or one is no key, or two have the same id.
    """
    keys: dict[str, bytes] = {}
    for entry in _entries(text):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise KeyringError("must be of the form <id>:<32 bytes in base64>")
        if match["id"] in keys:
            raise KeyringError(f"has two keys of the id {match['id']}")
        keys[match["id"]] = _decoded(match["key"])
    if not keys:
        raise KeyringError("must not be empty")
    return Keyring(next(iter(keys)), keys)


def _entries(text: str) -> list[str]:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return [entry.strip() for line in lines for entry in line.split(",") if entry.strip()]


def _decoded(text: str) -> bytes:
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        key = urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    except Error:
        raise KeyringError("has a key that is not in base64") from None
    if len(key) != KEY_BYTES:
        raise KeyringError(f"has a key that is not of {KEY_BYTES} bytes")
    return key
