"""What a token is for, beyond whom it speaks for: scopes, as far as Sluice knows them."""

from domain.errors import InsufficientScope
from domain.tenants import Principal

#: To ask for completions, to stop them, and to read.
CHAT = "sluice:chat"
#: To read models, and the caller's own completions.
READ = "sluice:read"
#: To administer the gateway. It neither allows nor forbids what members do.
ADMIN = "sluice:admin"
#: To look at everything that an administrator can look at.
ADMIN_READ = "sluice:admin:read"
#: To look after the token's own tenants.
TENANT_ADMIN = "sluice:tenant:admin"

_SUFFICIENT = {CHAT: frozenset({CHAT}), READ: frozenset({READ, CHAT})}
#: A token that names one of these is for that alone; one that names none of them may do whatever its user may.
_NARROWING = frozenset({CHAT, READ})
KNOWN = frozenset({CHAT, READ, ADMIN, ADMIN_READ, TENANT_ADMIN})


def require_scope(principal: Principal, scope: str) -> None:
    """Raise InsufficientScope unless the token is good for this scope, one of those that members need or any other.

    Most tokens of an issuer have scopes that are somebody else's affair, so members need none; an administrator does.
    """
    sufficient = _SUFFICIENT.get(scope, frozenset({scope}))
    narrowed = scope not in _SUFFICIENT or not _NARROWING.isdisjoint(principal.scopes)
    if narrowed and sufficient.isdisjoint(principal.scopes):
        raise InsufficientScope(scope)
