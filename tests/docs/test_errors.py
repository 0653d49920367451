"""Every code is in the error table, under the kind, the statuses and the type that it has."""

import pytest

from domain import errors
from domain.errors import Kind, RunFailed
from entrypoints.http import group_surface, provider_surface, tenant_surface
from entrypoints.http.admin.routes import MANNERS as ADMIN_MANNERS
from entrypoints.http.errors import HttpRefusal, error_object, status_of
from tests.docs.pages import Row, codes, page
from tests.docs.sources import codes_in_use, http_refusals, literals, subclasses

TABLE = page("docs/surfaces.md").section("Errors").rows("code", "kind", "type")
#: What only the admin API answers with.
OF_ADMINISTRATION = page("docs/admin.md").section("Errors").rows("code", "kind", "status")
OF_HTTP = [row for row in TABLE if row["kind"] == "HTTP"]
OF_THE_DOMAIN = [row for row in TABLE if row["kind"] != "HTTP"]
MANNERS = {
    "group": group_surface.MANNERS,
    "tenant": tenant_surface.MANNERS,
    "provider": provider_surface.MANNERS,
}


def test_every_code_is_documented() -> None:
    assert codes_in_use() - documented_codes() == set()


def test_every_documented_code_is_in_the_code() -> None:
    assert documented_codes() - literals() == set()


def test_every_kind_is_documented() -> None:
    assert {row["kind"] for row in (*TABLE, *OF_ADMINISTRATION)} == {*Kind.__members__, "HTTP"}


def test_every_error_of_the_domain_is_documented_under_its_kind() -> None:
    documented = {(code, row["kind"]) for row in TABLE for code in codes(row["code"])}

    own = [each for each in subclasses() if each.__module__ == errors.__name__ and "code" in vars(each)]

    assert {(each.code, each.kind.name) for each in own} - documented == set()


@pytest.mark.parametrize("row", OF_THE_DOMAIN, ids=lambda row: f"{row['kind']} {codes(row['code'])[0]}")
def test_a_code_has_the_statuses_and_the_type_that_are_documented(row: Row) -> None:
    for code in codes(row["code"]):
        error = RunFailed("told again", kind=Kind[row["kind"]], code=code)

        statuses = {surface: str(status_of(error, manners)) for surface, manners in MANNERS.items()}

        assert statuses == {surface: row[surface] for surface in MANNERS}
        assert codes(row["type"]) == [error_object(error)["type"]]


@pytest.mark.parametrize("row", OF_HTTP, ids=lambda row: codes(row["code"])[0])
def test_what_http_itself_refuses_has_the_status_and_the_type_that_are_documented(row: Row) -> None:
    (code,) = codes(row["code"])
    status = http_refusals()[code]

    told = error_object(HttpRefusal("", status=status or 400, code=code))

    assert {row[surface] for surface in MANNERS} == {str(status) if status is not None else "4xx"}
    assert codes(row["type"]) == [told["type"]]


@pytest.mark.parametrize("row", OF_ADMINISTRATION, ids=lambda row: codes(row["code"])[0])
def test_what_only_the_admin_api_answers_has_the_status_that_is_documented(row: Row) -> None:
    (code,) = codes(row["code"])
    if row["kind"] == "HTTP":
        assert str(http_refusals()[code]) == row["status"]
        return

    (own,) = [each for each in subclasses() if vars(each).get("code") == code]

    assert own.kind is Kind[row["kind"]]
    assert str(status_of(RunFailed("", kind=own.kind, code=code), ADMIN_MANNERS)) == row["status"]


def documented_codes() -> set[str]:
    return {code for row in (*TABLE, *OF_ADMINISTRATION) for code in codes(row["code"])}
