"""Who may administer what, by the scopes of a token.

Three scopes: the whole gateway, the whole gateway to look at, and a token's own tenants. A tenant's own administrator
looks after its groups' users, not after what the tenant may spend: limits, keys of providers and grants are the
operator's.
"""

from dataclasses import dataclass
from enum import Enum

from domain.errors import InsufficientScope
from domain.scopes import ADMIN, ADMIN_READ, TENANT_ADMIN
from domain.tenants import Principal, TenantId


class Access(Enum):
    """What it takes to do something."""

    READ = "read"
    """The operator, or who may look at everything."""
    CHANGE = "change"
    """The operator."""
    READ_OWN = "read own"
    """As READ, and the tenant's own administrator."""
    CHANGE_OWN = "change own"
    """As CHANGE, and the tenant's own administrator."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who does it, for the audit: a user, or whoever has a shell; and with which request, where it was one.

    ``everywhere`` is whether they administer the whole gateway.
    """

    name: str
    request_id: str | None = None
    everywhere: bool = True


def operator_of(principal: Principal, request_id: str) -> Operator:
    """Who asks with a token of these scopes."""
    return Operator(principal.user, request_id, ADMIN in principal.scopes)


def require_access(principal: Principal, access: Access, tenant: TenantId | None = None) -> None:
    """Raise InsufficientScope unless the token's scopes allow this, of this tenant where it is about one.

    Whether the tenant exists makes no difference.
    """
    changes = access in (Access.CHANGE, Access.CHANGE_OWN)
    own = access in (Access.READ_OWN, Access.CHANGE_OWN) and tenant in principal.tenants
    enough = {ADMIN} | (set() if changes else {ADMIN_READ}) | ({TENANT_ADMIN} if own else set())
    if not enough & principal.scopes:
        raise InsufficientScope(ADMIN if changes else ADMIN_READ)
