"""A request that is wrong in every way is told of one thing at a time, always in the same order.

Each case begins with everything wrong and mends one thing after the other: a check that is left out, or that comes too
early or too late, shows at once as another answer than the one in its turn.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import orjson
import pytest

from domain.rate import Allowance, Charge
from tests.http.member import HELLO, JSON
from tests.http.replica import PROVIDER_KEY, Replica
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface
from tests.http.told import told
from tests.provider.process import ProviderProcess

WINDOW = 1_000

#: A tenant with a group that nobody is in, no key, a limit, and one small model.
DOCUMENT: dict[str, Any] = {
    "groups": {"board": {}},
    "default": "keyed",
    "models": {"small": {"provider": "keyed", "name": "echo", "context_window": WINDOW}},
    "allowed_models": ["small"],
    "limits": {"requests_per_minute": 1},
}


@dataclass(slots=True)
class Case:
    """A request and the tenant it is about, with all that can be wrong about them."""

    replica: Replica
    surface: Surface
    tenant: str
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    broken: bool = True
    document: dict[str, Any] = field(default_factory=lambda: dict(DOCUMENT))

    async def ask(self) -> httpx.Response:
        content = orjson.dumps(self.fields)[: -1 if self.broken else None]
        headers = {**JSON, "Prefer": "wait=10", **self.headers}
        return await self.replica.client.post(self.surface.path(self.tenant), content=content, headers=headers)

    async def configure(self, **changes: Any) -> None:
        self.document |= changes
        await self.replica.put_tenant(self.tenant, self.document)

    def sign(self, tenant: str, group: str) -> None:
        self.headers["Authorization"] = f"Bearer {self.replica.token(tenant, group=group)}"


Mend = Callable[[Case], Awaitable[None]]


async def name_no_tenant(case: Case) -> None:
    case.headers["X-Tenant-Id"] = "nobody"


async def name_the_tenant(case: Case) -> None:
    case.headers["X-Tenant-Id"] = case.tenant


async def sign_for_another_tenant(case: Case) -> None:
    case.sign("globex", "strangers")


async def sign(case: Case) -> None:
    case.sign(case.tenant, "strangers")


async def repair_the_json(case: Case) -> None:
    case.broken = False


async def keep_to_the_schema(case: Case) -> None:
    del case.fields["temperature"]


async def make_sense(case: Case) -> None:
    case.fields["messages"] = [{"role": "user", "content": "word " * 2 * WINDOW}]


async def ask_for_a_model_that_is_there(case: Case) -> None:
    case.fields["model"] = "small"


async def be_brief(case: Case) -> None:
    case.fields["messages"] = HELLO


async def go_as_a_group_that_is_there(case: Case) -> None:
    case.fields |= {"group_id": "board"} if case.surface is GROUP else {}
    case.sign(case.tenant, "board")


async def bring_a_key(case: Case) -> None:
    await case.configure(api_keys={"keyed": PROVIDER_KEY})


async def lift_the_limit(case: Case) -> None:
    await case.configure(limits={"requests_per_minute": None})


async def pay(case: Case) -> None:
    case.replica.set_balance(case.tenant, 1, group="board")


#: The identity that each surface asks for, then what all of them check: the answer, and what mends it.
IDENTITY: dict[str, list[tuple[int, str, Mend]]] = {
    "group": [(400, "missing_tenant_id", name_no_tenant), (404, "tenant_not_found", name_the_tenant)],
    "tenant": [(401, "invalid_api_key", sign_for_another_tenant), (403, "tenant_forbidden", sign)],
    "provider": [(401, "invalid_api_key", sign_for_another_tenant), (403, "tenant_forbidden", sign)],
}


def steps(surface: Surface) -> list[tuple[int, str, Mend]]:
    invalid, no_model = surface.invalid_status, surface.model_status
    return [
        *IDENTITY[surface.name],
        (invalid, "invalid_json", repair_the_json),
        (invalid, "integer_above_max_value", keep_to_the_schema),
        (invalid, "invalid_request", make_sense),
        (no_model, "model_not_found", ask_for_a_model_that_is_there),
        (400, "context_length_exceeded", be_brief),
        (invalid, "invalid_group_id", go_as_a_group_that_is_there),
        (403, "no_api_key", bring_a_key),
        (429, "rate_limit_exceeded", lift_the_limit),
        (429, "insufficient_quota", pay),
    ]


async def a_hopeless_case(replica: Replica, surface: Surface) -> Case:
    # The provider surface of a provider that wants a key.
    at = replace(surface, prefix="/keyed") if surface is PROVIDER else surface
    orphan = {"role": "tool", "tool_call_id": "call_1", "content": "word " * 2 * WINDOW}
    needs = {"group_id": "strangers"} if surface is GROUP else {}
    case = Case(
        replica,
        at,
        await replica.add_tenant(),
        fields={"model": "gone", "messages": [orphan], "temperature": 3, **needs},
    )
    await case.configure()
    await replica.container.limiter().take(case.tenant, [Charge("rpm", "requests", Allowance(1), 1)])
    return case


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_each_thing_that_is_wrong_is_told_in_its_turn(
    replica: Replica, provider: ProviderProcess, surface: Surface
) -> None:
    case = await a_hopeless_case(replica, surface)

    for status, code, mend in steps(surface):
        answer = await case.ask()
        refusal = told(answer, replace(surface, dialect="plain") if _is_plain(surface, code) else surface)
        assert (refusal.status, refusal.code) == (status, code)
        assert provider.requests() == []
        await mend(case)

    answer = await case.ask()
    assert answer.status_code == 200
    assert len(provider.requests()) == 1


def _is_plain(surface: Surface, code: str) -> bool:
    return surface is TENANT and code == "insufficient_quota"


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_a_refused_request_costs_nothing(replica: Replica, surface: Surface) -> None:
    case = await a_hopeless_case(replica, surface)
    replica.set_balance(case.tenant, 7, group="board")

    for _, code, mend in steps(surface):
        if code == "insufficient_quota":
            break
        await case.ask()
        await mend(case)

    assert await replica.available(case.tenant, group="board") == 7


async def test_on_the_group_surface_too_a_token_is_judged_before_the_body(replica: Replica) -> None:
    tenant = await replica.add_tenant()
    case = Case(replica, GROUP, tenant, {"X-Tenant-Id": tenant}, {"group_id": "staff", "temperature": 3}, broken=False)

    without = await case.ask()
    case.sign("globex", "staff")
    of_another_tenant = await case.ask()
    case.sign(tenant, "board")
    of_another_group = await case.ask()
    case.sign(tenant, "staff")
    good = await case.ask()

    codes = [told(answer, GROUP).code for answer in (without, of_another_tenant, of_another_group, good)]
    assert codes == ["invalid_api_key", "tenant_forbidden", "group_forbidden", "missing_required_parameter"]


async def test_a_refusal_for_the_balance_gives_the_rate_back(replica: Replica) -> None:
    tenant = await replica.add_tenant(limits={"requests_per_minute": 1}, groups={"staff": {}})
    case = Case(replica, TENANT, tenant, fields={"messages": HELLO}, broken=False)
    case.sign(tenant, "staff")

    refused = await case.ask()
    replica.set_balance(tenant, 1)
    admitted = await case.ask()

    assert refused.headers["x-error-code"] == "insufficient_quota"
    assert admitted.status_code == 200
