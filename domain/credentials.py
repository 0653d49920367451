"""API keys as they are issued, listed, revoked and verified."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from domain import keys, scopes
from domain.errors import InvalidRequest, NotAuthenticated, TooManyApiKeys, UnknownApiKey, UnknownTenant
from domain.ids import is_id
from domain.keys import ApiKey
from domain.ports import ApiKeyStore, Clock, Entropy, TenantStore
from domain.runs import ULID_ENTROPY, ulid
from domain.tenants import GroupId, Principal, TenantId, UserId

#: So many keys of a tenant that are good.
MAX_KEYS = 10_000
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,100}")


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a key is to be for. ``expires`` is in Unix seconds, None for until it is revoked."""

    tenant: TenantId
    group: GroupId
    user: UserId
    name: str
    expires: int | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys that Sluice itself gives out; as a token verifier, it tells whom one speaks for."""

    store: ApiKeyStore
    tenants: TenantStore
    clock: Clock
    entropy: Entropy

    async def issue(self, grant: KeyGrant) -> tuple[ApiKey, str]:
        """A new key: what is kept of it, and the key itself, which nobody can ever tell again.

        Raises:
            UnknownTenant, InvalidGroup, InvalidRequest: nobody can be granted that.
            TooManyApiKeys: the tenant has all that it may have.
            StoreUnavailable: the store did not answer; if the key is there, nobody has it.
        """
        now = self.clock()
        await self._require_possible(grant, now)
        secret = keys.make(self.entropy(keys.SECRET_BYTES))
        key = ApiKey(
            f"key-{ulid(now, self.entropy(ULID_ENTROPY))}",
            keys.digest(secret),
            keys.start(secret),
            grant.tenant,
            grant.group,
            grant.user,
            grant.name,
            int(now),
            grant.expires,
            grant.scopes,
        )
        await self.store.add(key)
        return key, secret

    async def list(self, tenant: TenantId) -> Sequence[ApiKey]:
        """The keys of a tenant, the oldest first: those that are good, and those that expired not long ago.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return sorted(await self.store.of_tenant(tenant) if is_id(tenant) else (), key=lambda key: key.id)

    async def revoke(self, tenant: TenantId, key_id: str) -> ApiKey:
        """Put an end to a key of this tenant: no replica takes it 5 seconds later. What it was.

        Raises:
            UnknownApiKey: the tenant has no such key; another may.
            StoreUnavailable: the store did not answer; it is safe to try again.
        """
        key = await self.store.remove(tenant, key_id) if is_id(tenant) and is_id(key_id) else None
        if key is None:
            raise UnknownApiKey
        return key

    async def verify(self, token: str) -> Principal:
        """Whom a key speaks for.

        Raises:
            NotAuthenticated: it is no key, or was revoked, or has expired.
            StoreUnavailable: the store did not answer, and the key was not looked up in the last 5 seconds.
        """
        key = await self.store.find(keys.digest(token)) if keys.is_key(token) else None
        # One sentence for all: who has found an old key need not learn that it was one.
        if key is None or not key.is_good(self.clock()):
            raise NotAuthenticated("The API key is not good, or not any more.", reason="invalid_token")
        return key.principal()

    async def _require_possible(self, grant: KeyGrant, now: float) -> None:
        tenant = await self.tenants.get(grant.tenant) if is_id(grant.tenant) else None
        if tenant is None:
            raise UnknownTenant
        tenant.group(grant.group)
        _require(is_id(grant.user), "user", "must be an id: letters, digits, '.', '_', '@' and '-', 128 at most")
        _require(_NAME.fullmatch(grant.name) is not None, "name", "must be a line of 1 to 100 characters")
        _require(grant.expires is None or grant.expires > now, "expires", "must be in the future")
        unknown = sorted(grant.scopes - scopes.KNOWN)
        _require(not unknown, "scopes", f"must be of {_listed(scopes.KNOWN)}")
        good = [key for key in await self.store.of_tenant(grant.tenant) if key.is_good(now)]
        if len(good) >= MAX_KEYS:
            raise TooManyApiKeys(MAX_KEYS)


def _require(holds: bool, name: str, sentence: str) -> None:
    if not holds:
        raise InvalidRequest(f"Invalid '{name}': {sentence}.", param=name, code="invalid_value")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
