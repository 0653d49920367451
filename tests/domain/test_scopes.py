"""What a token is for: scopes narrow what a member may do, and alone make an administrator."""

import pytest

from domain.errors import InsufficientScope
from domain.scopes import ADMIN, CHAT, READ, require_scope
from domain.tenants import Principal


def of(*scopes: str) -> Principal:
    return Principal("ada", frozenset({"acme"}), {}, frozenset(scopes))


@pytest.mark.parametrize("scopes", [(), ("openid", "email"), (ADMIN,), (CHAT,), (CHAT, READ)])
def test_a_member_may_ask_and_read_unless_the_token_is_for_less(scopes: tuple[str, ...]) -> None:
    for scope in (CHAT, READ):
        require_scope(of(*scopes), scope)


@pytest.mark.parametrize("scopes", [(READ,), (READ, ADMIN), (READ, "openid")])
def test_a_token_for_reading_is_for_nothing_else(scopes: tuple[str, ...]) -> None:
    require_scope(of(*scopes), READ)

    with pytest.raises(InsufficientScope) as refused:
        require_scope(of(*scopes), CHAT)
    assert refused.value.scope == CHAT


@pytest.mark.parametrize("scopes", [(), (CHAT, READ), ("sluice:administrator", "admin", "sluice:ADMIN")])
def test_nobody_administers_without_the_scope(scopes: tuple[str, ...]) -> None:
    with pytest.raises(InsufficientScope):
        require_scope(of(*scopes), ADMIN)

    require_scope(of(*scopes, ADMIN), ADMIN)
