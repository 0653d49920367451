"""From settings to the vault of the tenants' secrets: without keys, none is sealed."""

from typing import Any

from dependency_injector import providers

from adapters.secrets.keyring import Keyring, KeyringError, parse_keyring
from adapters.vault import UNLOCKED, Vault
from config.settings import Settings
from config.strength import weakness


class VaultError(ValueError):
    """The keys are none. One line, beginning with the setting; it repeats no key."""


def vault_of(settings: Settings, journal: "providers.Provider[Any]") -> "providers.Provider[Vault]":
    """What seals with the keys that the settings name; the journal is told of secrets that cannot be opened.

    Raises:
        VaultError: they are none.
    """
    name = "SLUICE_SECRET_KEYS" if settings.secret_keys is not None else "SLUICE_SECRET_KEYS_FILE"
    try:
        keyring = _keyring(settings)
    except KeyringError as error:
        raise VaultError(f"{name}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"{name}: cannot be read ({type(error).__name__})") from None
    if keyring is None:
        return providers.Object(UNLOCKED)
    # Who needs no cryptography does not wait for it.
    from adapters.secrets.envelope import Envelope

    return providers.Singleton(Envelope, keyring, journal)


def _keyring(settings: Settings) -> Keyring | None:
    if settings.secret_keys is not None:
        text = settings.secret_keys.get_secret_value()
    elif settings.secret_keys_file is not None:
        text = settings.secret_keys_file.read_text("utf-8")
    else:
        return None
    keyring = parse_keyring(text)
    for kek_id, key in keyring.keys.items():
        found = weakness(key)
        if found is not None:
            raise KeyringError(f"key {kek_id} {found}")
    return keyring
