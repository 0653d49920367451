"""Which kind of token goes to whom."""

import pytest

from adapters.auth.bearer import BearerTokens
from domain import keys
from domain.errors import NotAuthenticated
from domain.tenants import Principal

pytestmark = pytest.mark.anyio


class Asked:
    """A verifier that takes everything, and remembers what it was asked about."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def verify(self, token: str) -> Principal:
        self.tokens.append(token)
        return Principal("ada", frozenset())


async def test_keys_go_to_whoever_knows_keys_and_everything_else_does_not() -> None:
    api_keys, signed = Asked(), Asked()
    bearer = BearerTokens(api_keys, signed)
    key = keys.make(bytes(32))

    for token in (key, "sk-sluice-", "a.b.c", key.upper(), "", "sluice"):
        await bearer.verify(token)

    assert api_keys.tokens == [key, "sk-sluice-"]
    assert signed.tokens == ["a.b.c", key.upper(), "", "sluice"]


@pytest.mark.parametrize("token", ["sk-proj-abc", "sk-ant-api03-abc", "sk-sluic-abc", "sk-"])
async def test_a_providers_key_is_shown_to_nobody(token: str) -> None:
    api_keys, signed = Asked(), Asked()

    with pytest.raises(NotAuthenticated) as refusal:
        await BearerTokens(api_keys, signed).verify(token)

    assert refusal.value.reason == "invalid_token"
    assert api_keys.tokens + signed.tokens == []


async def test_where_an_issuer_can_be_asked_what_is_no_signed_token_goes_there_alone() -> None:
    api_keys, signed, opaque = Asked(), Asked(), Asked()
    bearer = BearerTokens(api_keys, signed, [opaque])

    for token in ("a.b.c", "abc", "a.b", "a.b.c.d", keys.make(bytes(32))):
        await bearer.verify(token)

    assert signed.tokens == ["a.b.c"]
    assert opaque.tokens == ["abc", "a.b", "a.b.c.d"]


def test_an_opaque_token_is_never_shown_to_one_of_several() -> None:
    with pytest.raises(ValueError, match="only one issuer"):
        BearerTokens(Asked(), Asked(), [Asked(), Asked()])
