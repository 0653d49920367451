"""API keys in the admin API: shown once, good at once, and never more than who makes them."""

import pytest

from domain.scopes import ADMIN, ADMIN_READ, CHAT, TENANT_ADMIN
from tests.http.admins import Admin
from tests.http.log import Log
from tests.http.replica import Replica

pytestmark = pytest.mark.anyio

FOR = {"group": "staff", "user": "ann"}


async def test_a_key_that_was_made_is_good_until_it_is_revoked(replica: Replica) -> None:
    admin, tenant = Admin(replica), await replica.add_tenant()

    made = (await admin.ask("POST", f"/tenants/{tenant}/keys", {**FOR, "name": "ci"})).json()
    key = {"Authorization": f"Bearer {made['key']}"}
    before = await replica.client.get(f"/{tenant}/v1/models", headers=key)
    revoked = await admin.ask("DELETE", f"/tenants/{tenant}/keys/{made['id']}")
    after = await replica.client.get(f"/{tenant}/v1/models", headers=key)

    assert (before.status_code, revoked.status_code, after.status_code) == (200, 204, 401)


async def test_a_key_is_listed_by_its_beginning(replica: Replica) -> None:
    admin, tenant = Admin(replica), await replica.add_tenant()
    made = (await admin.ask("POST", f"/tenants/{tenant}/keys", {**FOR, "scopes": [CHAT]})).json()

    listed = await admin.ask("GET", f"/tenants/{tenant}/keys")

    secret = made.pop("key")
    assert listed.json()["data"] == [made]
    assert secret not in listed.text


@pytest.mark.parametrize("scope", [ADMIN, ADMIN_READ])
async def test_a_tenants_administrator_makes_no_key_that_reaches_beyond_it(replica: Replica, scope: str) -> None:
    tenant = await replica.add_tenant()
    own = Admin(replica, (TENANT_ADMIN,), (tenant,))

    refused = await own.ask("POST", f"/tenants/{tenant}/keys", {**FOR, "scopes": [scope]})
    equal = await own.ask("POST", f"/tenants/{tenant}/keys", {**FOR, "scopes": [TENANT_ADMIN]})

    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert equal.status_code == 201
    assert (await Admin(replica).ask("POST", f"/tenants/{tenant}/keys", {**FOR, "scopes": [scope]})).status_code == 201


async def test_a_key_of_another_tenant_is_not_found(replica: Replica) -> None:
    admin, tenant, other = Admin(replica), await replica.add_tenant(), await replica.add_tenant()
    made = (await admin.ask("POST", f"/tenants/{tenant}/keys", FOR)).json()

    assert (await admin.ask("DELETE", f"/tenants/{other}/keys/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({**FOR, "group": "nobody"}, 400),
        ({**FOR, "user": "a:b"}, 400),
        ({**FOR, "scopes": ["everything"]}, 400),
        ({**FOR, "scopes": [5]}, 400),
        ({**FOR, "expires": 1}, 400),
        ({**FOR, "expires": "tomorrow"}, 400),
        ({**FOR, "key": "sk-mine"}, 400),
    ],
)
async def test_what_no_key_can_be_for_is_refused(replica: Replica, body: dict[str, object], status: int) -> None:
    tenant = await replica.add_tenant()

    answer = await Admin(replica).ask("POST", f"/tenants/{tenant}/keys", body)

    assert answer.status_code == status


async def test_keys_are_told_to_the_log_by_their_ids(replica: Replica, json_log: Log) -> None:
    admin, tenant = Admin(replica), await replica.add_tenant()
    made = (await admin.ask("POST", f"/tenants/{tenant}/keys", FOR)).json()
    await admin.ask("DELETE", f"/tenants/{tenant}/keys/{made['id']}")

    told = [(line["action"], line["subject"]) for line in json_log.of("Administered")]

    assert told == [("key.create", made["id"]), ("key.revoke", made["id"])]
    assert made["key"] not in json_log.text
