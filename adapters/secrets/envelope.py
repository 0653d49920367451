"""Documents with their provider keys sealed: AES-256-GCM, each key bound to its tenant and its provider.

A data key of the tenant's own seals the keys, and the active key-encryption key wraps that, so that changing the latter
touches no secret. What is moved to another tenant or another provider does not open there.
"""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.documents import DATA_KEY, SEALED
from adapters.secrets.keyring import KEY_BYTES, Keyring
from adapters.vault import Unsealable
from domain.chat import JsonObject
from domain.facts import SecretsUnreadable
from domain.ports import Entropy, Journal
from domain.tenants import TenantId

#: https://doi.org/10.6028/NIST.SP.800-38D, section 8.2.2: a random nonce for each of few messages under a key.
_NONCE_BYTES = 12
_VERSION = 1
_FIELD = "api_keys"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A vault whose keys are in this process. The journal is told whose secrets cannot be opened."""

    keyring: Keyring
    journal: Journal
    entropy: Entropy = os.urandom

    def seal(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        keys = document.get(_FIELD)
        if not isinstance(keys, dict) or not _texts(keys):
            return {name: value for name, value in document.items() if name != DATA_KEY}
        data_key = self._data_key(tenant_id, document) if document.get(DATA_KEY) else self.entropy(KEY_BYTES)

        def sealed(provider: str, text: str) -> str:
            # Sealed already: taken from a document that could not be opened, and no less shut for being copied.
            if text.startswith(SEALED):
                return text
            return SEALED + self._encrypted(data_key, text.encode(), _secret(tenant_id, provider))

        wrapped = self._encrypted(
            self.keyring.keys[self.keyring.active], data_key, _data_key(tenant_id, self.keyring.active)
        )
        named = f"{self.keyring.active}:{wrapped}"
        return {**document, _FIELD: _mapped(keys, sealed), DATA_KEY: named}

    def open(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        try:
            return self._opened(tenant_id, document)
        except Unsealable as error:
            self.journal.record(SecretsUnreadable(tenant_id, error.why))
            raise

    def is_current(self, document: JsonObject) -> bool:
        keys = document.get(_FIELD)
        if not isinstance(keys, dict) or not _texts(keys):
            return DATA_KEY not in document
        active = str(document.get(DATA_KEY, "")).partition(":")[0] == self.keyring.active
        return active and all(text.startswith(SEALED) for text in _texts(keys))

    def _opened(self, tenant_id: TenantId, document: JsonObject) -> JsonObject:
        keys = document.get(_FIELD)
        plain = {name: value for name, value in document.items() if name != DATA_KEY}
        if not isinstance(keys, dict) or not any(text.startswith(SEALED) for text in _texts(keys)):
            return plain
        data_key = self._data_key(tenant_id, document)

        def opened(provider: str, text: str) -> str:
            if not text.startswith(SEALED):
                return text
            sealed = text.removeprefix(SEALED)
            return _decrypted(data_key, sealed, _secret(tenant_id, provider)).decode()

        return {**plain, _FIELD: _mapped(keys, opened)}

    def _data_key(self, tenant_id: TenantId, document: JsonObject) -> bytes:
        kek_id, _, wrapped = str(document.get(DATA_KEY, "")).partition(":")
        kek = self.keyring.keys.get(kek_id)
        if kek is None:
            raise Unsealable("unknown_key")
        return _decrypted(kek, wrapped, _data_key(tenant_id, kek_id))

    def _encrypted(self, key: bytes, plain: bytes, bound_to: bytes) -> str:
        nonce = self.entropy(_NONCE_BYTES)
        return urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, plain, bound_to)).decode()


def _decrypted(key: bytes, text: str, bound_to: bytes) -> bytes:
    try:
        sealed = urlsafe_b64decode(text)
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, Error, ValueError):
        raise Unsealable("damaged") from None


def _secret(tenant_id: TenantId, provider: str) -> bytes:
    """What a secret is bound to. As JSON, no two of these can be written in the same way."""
    return json.dumps(["secret", _VERSION, tenant_id, provider, _FIELD]).encode()


def _data_key(tenant_id: TenantId, kek_id: str) -> bytes:
    return json.dumps(["data key", _VERSION, tenant_id, kek_id]).encode()


def _texts(keys: Mapping[str, object]) -> list[str]:
    values = [part for value in keys.values() for part in (value if isinstance(value, list) else (value,))]
    return [value for value in values if isinstance(value, str) and value]


def _mapped(keys: Mapping[str, object], change: Callable[[str, str], str]) -> JsonObject:
    """The keys by provider, with each text changed; whatever else is there is left to whoever judges documents."""

    def changed(provider: str, value: object) -> object:
        if isinstance(value, list):
            return [changed(provider, part) for part in value]
        return change(provider, value) if isinstance(value, str) and value else value

    return {provider: changed(provider, value) for provider, value in keys.items()}
