"""Every route of the admin API is documented, with who may use it and what it does; so are its scopes and its audit."""

from config.composition import build
from config.settings import Settings
from domain.administration.access import Access
from domain.scopes import ADMIN, ADMIN_READ, TENANT_ADMIN
from entrypoints.http.assembly import admin_routes
from tests.docs.pages import codes, only_code, page
from tests.docs.sources import actions

ADMIN_PAGE = page("docs/admin.md")
ROUTES = admin_routes(build(Settings()))
#: How the table writes what is enough beside the widest scope.
ENOUGH = {Access.READ: "read", Access.CHANGE: "", Access.READ_OWN: "read, own", Access.CHANGE_OWN: "own"}


def test_every_route_is_documented_with_who_may_use_it_and_what_it_does() -> None:
    rows = ADMIN_PAGE.section("Routes").rows("method", "path", "enough", "what it does")

    documented = [(row["method"], only_code(row["path"]), row["enough"], row["what it does"]) for row in rows]

    assert documented == [(route.method, route.path, ENOUGH[route.access], route.about) for route in ROUTES]


def test_every_scope_is_documented() -> None:
    rows = ADMIN_PAGE.section("Who may use it").rows("scope", "may")

    assert {only_code(row["scope"]) for row in rows} == {ADMIN, ADMIN_READ, TENANT_ADMIN}


def test_every_action_of_the_audit_is_documented() -> None:
    rows = ADMIN_PAGE.section("The audit").rows("action", "changed")

    assert {action for row in rows for action in codes(row["action"])} == actions()
