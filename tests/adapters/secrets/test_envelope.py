"""Sealed documents: nothing of a key shows, and none opens anywhere but where it was sealed."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.documents import DATA_KEY, SEALED
from adapters.secrets.envelope import Envelope
from adapters.secrets.keyring import Keyring
from adapters.vault import UNLOCKED, Unsealable, Vault
from domain.facts import SecretsUnreadable
from tests.fakes import ListJournal

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
KEYS = {"openai": "sk-canary-of-openai", "azure": ["sk-canary-1", "sk-canary-2"], "none": "", "nothing": None}
DOCUMENT: dict[str, Any] = {"user_groups": ["staff"], "api_keys": KEYS, "others": {"x": [1]}}

TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=50)
PLAIN = TEXTS.filter(lambda text: not text.startswith(SEALED))


def envelope(*names: str) -> Envelope:
    """A vault with these keys; the first seals."""
    every = {"old": OLD, "new": NEW}
    return Envelope(Keyring(names[0], {name: every[name] for name in names}), ListJournal())


@pytest.fixture
def vault() -> Envelope:
    return envelope("old")


def flipped(sealed: str, place: int) -> str:
    """A sealed text with one bit changed."""
    head, text = (SEALED, sealed.removeprefix(SEALED)) if sealed.startswith(SEALED) else ("", sealed)
    data = bytearray(urlsafe_b64decode(text))
    data[place] ^= 1
    return head + urlsafe_b64encode(data).decode()


def test_the_port_is_kept() -> None:
    vaults: list[Vault] = [envelope("old"), UNLOCKED]

    assert len(vaults) == 2


def test_what_was_sealed_opens_as_it_was(vault: Envelope) -> None:
    assert vault.open("acme", vault.seal("acme", DOCUMENT)) == DOCUMENT


@given(st.dictionaries(TEXTS, PLAIN | st.lists(PLAIN, max_size=3) | st.none(), max_size=4))
def test_any_keys_open_as_they_were_and_do_not_show(keys: dict[str, Any]) -> None:
    vault, document = envelope("old"), {"api_keys": keys}

    sealed = vault.seal("acme", document)

    assert vault.open("acme", sealed) == document
    assert vault.is_current(sealed)
    for value in keys.values():
        for text in value if isinstance(value, list) else [value]:
            assert not text or len(text) < 6 or text.encode() not in orjson.dumps(list(sealed["api_keys"].values()))


def test_only_keys_are_sealed_and_each_by_itself(vault: Envelope) -> None:
    one, other = vault.seal("acme", DOCUMENT), vault.seal("acme", DOCUMENT)

    assert b"canary" not in orjson.dumps(one)
    assert {**one, "api_keys": 0, DATA_KEY: 0} == {**DOCUMENT, "api_keys": 0, DATA_KEY: 0}
    assert (one["api_keys"]["none"], one["api_keys"]["nothing"]) == ("", None)
    texts = {text for sealed in (one, other) for text in [sealed["api_keys"]["openai"], *sealed["api_keys"]["azure"]]}
    assert len(texts) == 6


def test_each_tenant_has_a_data_key_of_its_own_which_it_keeps(vault: Envelope) -> None:
    acme, globex = (vault.seal(tenant, DOCUMENT) for tenant in ("acme", "globex"))
    again = vault.seal("acme", {**acme, "api_keys": {**acme["api_keys"], "more": "sk-canary-3"}})

    keys = [vault._data_key(tenant, sealed) for tenant, sealed in (("acme", acme), ("globex", globex), ("acme", again))]

    assert keys[0] == keys[2] != keys[1]
    assert again["api_keys"]["openai"] == acme["api_keys"]["openai"]
    assert vault.open("acme", again)["api_keys"] == {**KEYS, "more": "sk-canary-3"}


def test_a_document_without_keys_is_left_alone(vault: Envelope) -> None:
    keyless: list[object] = [{}, None, {"openai": ""}, "sk-x"]
    documents: list[dict[str, Any]] = [{}, *({"api_keys": value} for value in keyless)]

    for document in documents:
        assert vault.seal("acme", document) == document
        assert vault.open("acme", document) == document
        assert vault.is_current(document)


def test_the_data_key_goes_with_the_last_key(vault: Envelope) -> None:
    emptied = {**vault.seal("acme", DOCUMENT), "api_keys": {}}

    assert not vault.is_current(emptied)
    assert DATA_KEY not in vault.seal("acme", emptied)


# --- K2: bound to tenant and provider ---------------------------------------------------------------------------------


def test_nothing_opens_for_another_tenant(vault: Envelope) -> None:
    sealed = vault.seal("acme", DOCUMENT)

    with pytest.raises(Unsealable, match="damaged"):
        vault.open("globex", sealed)


def test_a_key_that_is_put_into_anothers_document_does_not_open(vault: Envelope) -> None:
    acme, globex = (vault.seal(tenant, DOCUMENT) for tenant in ("acme", "globex"))
    stolen = acme["api_keys"]["openai"]

    for document in (
        {**globex, "api_keys": {"openai": stolen}},
        {**globex, "api_keys": {"openai": stolen}, DATA_KEY: acme[DATA_KEY]},
    ):
        with pytest.raises(Unsealable):
            vault.open("globex", document)


def test_a_key_of_one_provider_is_none_of_another(vault: Envelope) -> None:
    sealed = vault.seal("acme", DOCUMENT)

    with pytest.raises(Unsealable):
        vault.open("acme", {**sealed, "api_keys": {"azure": sealed["api_keys"]["openai"]}})


@pytest.mark.parametrize("place", [0, 11, 12, 20, -16, -1])
def test_a_key_with_one_bit_changed_does_not_open(vault: Envelope, place: int) -> None:
    sealed = vault.seal("acme", DOCUMENT)
    kek_id, _, wrapped = sealed[DATA_KEY].partition(":")

    for document in (
        {**sealed, "api_keys": {"openai": flipped(sealed["api_keys"]["openai"], place)}},
        {**sealed, DATA_KEY: f"{kek_id}:{flipped(wrapped, place)}"},
    ):
        with pytest.raises(Unsealable, match="damaged"):
            vault.open("acme", document)


@pytest.mark.parametrize("text", ["", "x", "!!!!", "AAAA", "A" * 16, "é", "AAAA" * 100])
def test_what_was_never_sealed_does_not_open(vault: Envelope, text: str) -> None:
    sealed = vault.seal("acme", DOCUMENT)

    for document in (
        {**sealed, "api_keys": {"openai": SEALED + text}},
        {**sealed, DATA_KEY: f"old:{text}"},
        {**sealed, DATA_KEY: text},
        {**sealed, DATA_KEY: None},
        {name: value for name, value in sealed.items() if name != DATA_KEY},
    ):
        with pytest.raises(Unsealable):
            vault.open("acme", document)


def test_whoever_looks_after_it_is_told(vault: Envelope) -> None:
    sealed = vault.seal("acme", DOCUMENT)
    journal = ListJournal()

    for tenant, ring in (("globex", vault.keyring), ("acme", envelope("new").keyring)):
        with pytest.raises(Unsealable):
            Envelope(ring, journal).open(tenant, sealed)

    assert journal.facts == [SecretsUnreadable("globex", "damaged"), SecretsUnreadable("acme", "unknown_key")]


# --- plain keys, and other key-encryption keys ------------------------------------------------------------------------


def test_a_key_in_the_clear_is_taken_beside_sealed_ones_and_sealed_with_the_next_writing(vault: Envelope) -> None:
    sealed = vault.seal("acme", DOCUMENT)
    by_hand = {**sealed, "api_keys": {**sealed["api_keys"], "openai": "sk-by-hand"}}

    assert vault.open("acme", by_hand)["api_keys"]["openai"] == "sk-by-hand"
    assert not vault.is_current(by_hand)
    assert b"by-hand" not in orjson.dumps(vault.seal("acme", by_hand))


def test_an_older_key_opens_and_the_active_one_wraps_anew_without_touching_a_secret() -> None:
    sealed = envelope("old").seal("acme", DOCUMENT)
    both = envelope("new", "old")

    assert both.open("acme", sealed) == DOCUMENT
    assert not both.is_current(sealed)
    resealed = both.seal("acme", sealed)

    assert both.is_current(resealed)
    assert resealed["api_keys"] == sealed["api_keys"]
    assert envelope("new").open("acme", resealed) == DOCUMENT
    with pytest.raises(Unsealable, match="unknown_key"):
        envelope("new").open("acme", sealed)
    with pytest.raises(Unsealable, match="unknown_key"):
        envelope("old").open("acme", resealed)


def test_two_keys_of_one_id_are_told_apart() -> None:
    sealed = envelope("old").seal("acme", DOCUMENT)
    impostor = Envelope(Keyring("old", {"old": NEW}), ListJournal())

    with pytest.raises(Unsealable, match="damaged"):
        impostor.open("acme", sealed)


def test_who_has_no_key_takes_nothing_sealed_for_a_key() -> None:
    sealed = envelope("old").seal("acme", DOCUMENT)

    with pytest.raises(Unsealable):
        UNLOCKED.open("acme", sealed)
    assert UNLOCKED.open("acme", UNLOCKED.seal("acme", DOCUMENT)) == DOCUMENT
    assert UNLOCKED.is_current(DOCUMENT)
