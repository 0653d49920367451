"""The three surfaces as a client meets them: where they are, what they need, how they tell that something is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

COMPLETIONS = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface. ``prefix`` stands before ``/v1``; ``needs`` is what its bodies cannot be without."""

    name: str
    prefix: str
    dialect: Literal["plain", "openai"]
    invalid_status: int
    model_status: int
    id_prefix: str
    needs: Mapping[str, Any] = field(default_factory=dict)
    keeps_extras: bool = True

    def root(self, tenant: str) -> str:
        return self.prefix.format(tenant=tenant)

    def path(self, tenant: str) -> str:
        return self.root(tenant) + COMPLETIONS

    def __str__(self) -> str:
        return self.name


GROUP = Surface("group", "", "plain", 400, 400, "job-", {"group_id": "staff"})
TENANT = Surface("tenant", "/{tenant}", "openai", 400, 400, "conv-")
PROVIDER = Surface("provider", "/scripted", "openai", 422, 404, "chatcmpl-", {"model": "echo"}, keeps_extras=False)
SURFACES = (GROUP, TENANT, PROVIDER)
