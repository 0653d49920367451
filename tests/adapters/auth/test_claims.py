"""What claims mean: whom they speak for, and until when."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.auth.claims import DEFAULT_RULES, LEEWAY, ClaimMap, ClaimRules, Reach, principal, require_audience
from domain.errors import NotAuthenticated
from domain.ids import user_id
from domain.tenants import Principal
from tests.adapters.auth.tokens import GOOD_CLAIMS, NOW

NAMES = ClaimMap()
DAY = 24 * 3600
MINUTE = 60
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_the_default_claims_are_those_of_the_contract() -> None:
    claims = {
        "sub": "ada@example.org",
        "tenants": ["acme", "umbrella"],
        "groups": {"acme": "staff", "elsewhere": "boss"},
        "group": "guests",
        "scope": "sluice:admin  openid",
    }

    who = principal(claims, NAMES)

    assert who.user == "ada@example.org"
    assert who.tenants == {"acme", "umbrella"}
    assert who.groups == {"acme": "staff", "umbrella": "guests"}
    assert who.scopes == {"sluice:admin", "openid"}


def test_one_tenant_may_stand_in_a_claim_of_its_own() -> None:
    assert principal({"sub": "ada", "tenant_id": "acme"}, NAMES).tenants == {"acme"}
    assert principal({"sub": "ada", "tenant_id": "acme", "tenants": []}, NAMES).tenants == frozenset()


def test_other_names_can_be_given_to_the_claims() -> None:
    names = ClaimMap(user="oid", tenants="https://example.org/teams", group="role", scope="scp")
    claims = {"oid": "7", "https://example.org/teams": ["acme"], "role": "staff", "scp": "a b", "sub": "ignored"}

    who = principal(claims, names)

    assert who == Principal("7", frozenset({"acme"}), {"acme": "staff"}, frozenset({"a", "b"}))


@pytest.mark.parametrize("tenant", ["a:b", "{x}", "*", "a/b", "", "a" * 129, "a\n", "ä", None, 7, ["acme"]])
def test_a_tenant_that_is_no_id_gives_access_to_nothing(tenant: object) -> None:
    assert principal({"sub": "ada", "tenants": [tenant, "acme"]}, NAMES).tenants == {"acme"}
    assert principal({"sub": "ada", "tenant_id": tenant}, NAMES).tenants == frozenset()


@pytest.mark.parametrize("group", ["a:b", "", None, 7, ["staff"]])
def test_a_group_that_is_no_id_is_refused_rather_than_taken_for_the_default(group: object) -> None:
    with pytest.raises(NotAuthenticated):
        principal({"sub": "ada", "tenants": ["acme"], "groups": {"acme": group}}, NAMES)


def test_an_issuer_speaks_for_no_tenant_and_gives_no_scope_that_is_out_of_its_reach() -> None:
    reach = Reach(tenants=("acme", "acme-*"), scopes=("sluice:chat", "files:*"))
    claims = {
        "sub": "ada",
        "tenants": ["acme", "acme-eu", "globex"],
        "groups": {"globex": "staff", "acme": "staff"},
        "scope": "sluice:admin sluice:chat files:read",
    }

    who = principal(claims, NAMES, reach)

    assert who.tenants == {"acme", "acme-eu"}
    assert who.groups == {"acme": "staff"}
    assert who.scopes == {"sluice:chat", "files:read"}
    assert principal({"sub": "ada", "tenant_id": "globex"}, NAMES, reach).tenants == frozenset()


def test_users_of_two_issuers_can_be_told_apart() -> None:
    one, other = (principal({"sub": "ada"}, NAMES, Reach(user_prefix=prefix)).user for prefix in ("corp.", ""))

    assert (one, other) == ("corp.ada", "ada")


def test_the_word_of_who_cannot_take_it_back_stands() -> None:
    assert DEFAULT_RULES.judge(GOOD_CLAIMS, NOW).stands()


@pytest.mark.parametrize("bound", [{"jkt": "thumbprint"}, {"x5t#S256": "thumbprint"}, None, {}])
def test_a_token_that_is_bound_to_a_key_is_no_bearer_token(bound: object) -> None:
    with pytest.raises(NotAuthenticated, match="bound to a key"):
        DEFAULT_RULES.judge(GOOD_CLAIMS | {"cnf": bound}, NOW)


def test_a_list_of_groups_is_somebody_elses_affair() -> None:
    assert principal({"sub": "ada", "tenants": ["acme"], "groups": ["Everybody (all sites)"]}, NAMES).groups == {}


@pytest.mark.parametrize("subject", ["auth0|abc", "a:b", "x" * 129, "Zoë", "\ud800", " ", "sub-" + "0" * 32])
def test_a_subject_that_is_no_id_gets_a_stand_in(subject: str) -> None:
    stand_in = user_id(subject)

    assert stand_in.startswith("sub-")
    assert len(stand_in) == 36
    assert stand_in != subject
    assert stand_in == user_id(subject)


def test_nobody_becomes_somebody_else_by_a_clever_name() -> None:
    victim = user_id("auth0|victim")

    assert user_id(victim) != victim


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_subjects_are_different_users(one: str, other: str) -> None:
    assert (user_id(one) == user_id(other)) == (one == other)


@pytest.mark.parametrize("subject", [None, "", 7, ["ada"], {"name": "ada"}, True])
def test_a_token_without_a_user_is_refused(subject: object) -> None:
    with pytest.raises(NotAuthenticated, match="names no user"):
        principal({"sub": subject, "tenants": ["acme"]}, NAMES)


# A6: times are whole numbers within a day, and nothing else.


@pytest.mark.parametrize(
    "moment",
    [None, True, "tomorrow", f"{NOW + 60}", NOW + 60.0, [NOW + 60], {}, 10**400, 2**53 + 1, 1e300, float("inf"), -1, 0],
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_that_is_no_whole_number_is_refused(name: str, moment: object) -> None:
    with pytest.raises(NotAuthenticated, match=f"{name} is not a time"):
        DEFAULT_RULES.judge(GOOD_CLAIMS | {name: moment}, NOW)


def test_a_token_without_an_expiry_is_refused() -> None:
    with pytest.raises(NotAuthenticated, match="no expiry"):
        DEFAULT_RULES.judge({"sub": "ada", "tenants": ["acme"]}, NOW)


def test_a_token_that_is_good_for_more_than_a_day_is_refused() -> None:
    claims = GOOD_CLAIMS | {"exp": NOW + DAY + LEEWAY + 1}

    with pytest.raises(NotAuthenticated, match="longer than is accepted"):
        DEFAULT_RULES.judge(claims, NOW)
    assert DEFAULT_RULES.judge(claims, NOW + 1).principal.user == "ada"
    assert ClaimRules(max_lifetime=None).judge(claims, NOW).principal.user == "ada"


# A17: clocks may differ by half a minute, not by a whole one.


@pytest.mark.parametrize(
    ("claims", "off", "reason"),
    [
        ({"exp": NOW}, 0, None),
        ({"exp": NOW}, LEEWAY - 1, None),
        ({"exp": NOW}, LEEWAY, "has expired"),
        ({"exp": NOW}, MINUTE, "has expired"),
        ({"exp": NOW + DAY, "nbf": NOW}, -LEEWAY, None),
        ({"exp": NOW + 600, "nbf": NOW}, -LEEWAY - 1, "not good yet"),
        ({"exp": NOW + 600, "iat": NOW}, -LEEWAY, None),
        ({"exp": NOW + 600, "iat": NOW}, -MINUTE, "not good yet"),
        ({"exp": NOW + 300, "iat": NOW, "nbf": NOW}, -10 * MINUTE, "not good yet"),
        ({"exp": NOW + 300, "iat": NOW, "nbf": NOW}, 10 * MINUTE, "has expired"),
    ],
)
def test_clocks_may_differ_by_the_leeway(claims: dict[str, int], off: int, reason: str | None) -> None:
    rules = ClaimRules(max_lifetime=None)

    if reason is None:
        assert rules.judge(GOOD_CLAIMS | claims, NOW + off).expires == claims["exp"] + LEEWAY
    else:
        with pytest.raises(NotAuthenticated, match=reason):
            rules.judge(GOOD_CLAIMS | claims, NOW + off)


# A7: the audience is named exactly, alone or in a list.


@pytest.mark.parametrize("named", ["sluice", ["sluice"], ["other", "sluice"]])
def test_a_token_for_this_audience_is_taken(named: object) -> None:
    require_audience({"aud": named}, "sluice")


@pytest.mark.parametrize(
    "named", [None, "", "other", "sluic", "sluice-admin", ["other"], {"sluice": 1}, 7, [7], [], [[]]]
)
def test_a_token_for_another_audience_is_refused(named: object) -> None:
    with pytest.raises(NotAuthenticated, match="another audience"):
        require_audience({"aud": named}, "sluice")


@given(st.dictionaries(st.sampled_from(["sub", "tenants", "tenant_id", "groups", "group", "scope", "exp"]), ANYTHING))
def test_any_claims_are_either_judged_or_refused(claims: dict[str, Any]) -> None:
    with suppress(NotAuthenticated):
        assert DEFAULT_RULES.judge(claims, NOW).principal.user
