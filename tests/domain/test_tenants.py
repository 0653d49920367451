"""Who may use what of a tenant."""

import pytest

from domain.errors import GroupForbidden, InvalidGroup, TenantForbidden
from domain.tenants import Group, group_of, only_tenant, require_group, require_member
from tests.builders import a_principal, a_tenant

# --- groups and models ------------------------------------------------------------------------------------------------


def test_a_group_is_found_by_its_id() -> None:
    assert a_tenant().group("staff") == Group("staff", initial_tokens=1_000)


@pytest.mark.parametrize("group_id", ["interns", "", None])
def test_a_group_that_the_tenant_does_not_have_is_invalid(group_id: str | None) -> None:
    with pytest.raises(InvalidGroup):
        a_tenant().group(group_id)


@pytest.mark.parametrize(
    ("tenants", "groups", "model", "allowed"),
    [
        (None, None, "gpt-4o", True),
        (("gpt-4o",), None, "gpt-4o", True),
        (("gpt-4o",), None, "gpt-4o-mini", False),
        (("gpt-*", "o1"), None, "o1", True),
        (("GPT-*",), None, "gpt-4o", False),
        ((), None, "gpt-4o", False),
        (None, ("gpt-*",), "gpt-4o", True),
        (None, ("o1",), "gpt-4o", False),
        (None, (), "gpt-4o", False),
        (("gpt-*",), ("o1", "gpt-4o"), "o1", False),
        (("gpt-*",), ("o1", "gpt-4o"), "gpt-4o", True),
    ],
)
def test_a_model_must_match_the_tenants_patterns_and_the_groups(
    tenants: tuple[str, ...] | None, groups: tuple[str, ...] | None, model: str, allowed: bool
) -> None:
    tenant = a_tenant(allowed_models=tenants, groups={"staff": Group("staff", models=groups)})

    assert tenant.allows(model, "staff") is allowed


@pytest.mark.parametrize("group_id", [None, "interns"])
def test_where_there_is_no_such_group_the_tenants_patterns_decide(group_id: str | None) -> None:
    tenant = a_tenant(allowed_models=("gpt-*",), groups={"staff": Group("staff", models=())})

    assert tenant.allows("gpt-4o", group_id)
    assert not tenant.allows("o1", group_id)


# --- principals -------------------------------------------------------------------------------------------------------


def test_a_member_is_let_in_and_nobody_else() -> None:
    require_member(a_principal(), "acme")

    with pytest.raises(TenantForbidden):
        require_member(a_principal(), "globex")


def test_the_tokens_group_pays_else_the_tenants_default() -> None:
    tenant = a_tenant(default_group="staff")

    assert group_of(a_principal(groups={"acme": "vip", "globex": "ops"}), tenant) == "vip"
    assert group_of(a_principal(groups={"globex": "ops"}), tenant) == "staff"
    assert group_of(a_principal(), a_tenant(default_group=None)) is None


def test_a_caller_acts_in_their_own_group_or_as_nobody_in_particular() -> None:
    principal = a_principal(groups={"acme": "vip"})

    require_group(principal, a_tenant(), "vip")
    require_group(principal, a_tenant(), "anonymous")

    with pytest.raises(GroupForbidden):
        require_group(principal, a_tenant(), "staff")


@pytest.mark.parametrize(
    ("members_of", "named", "tenant"),
    [
        (("acme",), None, "acme"),
        (("acme",), "acme", "acme"),
        (("acme", "globex"), "globex", "globex"),
    ],
)
def test_a_token_speaks_for_the_tenant_that_is_named_or_its_only_one(
    members_of: tuple[str, ...], named: str | None, tenant: str
) -> None:
    assert only_tenant(a_principal(tenants=frozenset(members_of)), named) == tenant


@pytest.mark.parametrize(
    ("members_of", "named", "reason"),
    [
        ((), None, "no tenant"),
        (("acme", "globex"), None, "several tenants"),
        (("acme",), "globex", "this tenant"),
        (("acme",), "", "this tenant"),
        ((), "acme", "this tenant"),
    ],
)
def test_a_token_speaks_for_no_other(members_of: tuple[str, ...], named: str | None, reason: str) -> None:
    with pytest.raises(TenantForbidden, match=reason):
        only_tenant(a_principal(tenants=frozenset(members_of)), named)
